/** The cluster's two roles, running: what is stored (`role-records`) made into primaries and followers. */
import type { BackendResponse } from '@lockstep/backend'
import { pathsFilter } from '@lockstep/paths-filter'
import { CLASSES_OF_KIND, type HeartbeatStatus, type VersionRange } from '@lockstep/replication'
import type { ClusterListener } from '@lockstep/replication-transport'
import { readClusterIdentity } from '../cluster-identity.ts'
import type { Followed } from '../consistency/consistency.ts'
import { type Clock, CoreError, type Log, type WrappingStore } from '../contracts.ts'
import type { LeaseHold } from '../leases/lease-hold.ts'
import { timedForward } from '../metrics/link-metrics.ts'
import type { Meter, Sample } from '../metrics/meter.ts'
import { replicationGauges } from '../metrics/replication-gauges.ts'
import type { LifeCycle } from '../seal-life-cycle/life-cycle-contract.ts'
import type { NodeRecord } from '../seal-life-cycle/node-registry.ts'
import type { Unsealed } from '../seal-life-cycle/services.ts'
import { activationKeys } from './activation/activation-keys.ts'
import { redeemActivation } from './activation/redeem-activation.ts'
import { secondaryTokens } from './activation/secondary-tokens.ts'
import { type Canary, canary } from './canary.ts'
import { roleChanges } from './changes/role-changes.ts'
import type { AuthorizesDr } from './consent/dr-authorization.ts'
import type { OperationTokens } from './consent/operation-token.ts'
import { diagnostician } from './diagnostics/diagnostics-roles.ts'
import { followedLog } from './forwarding/followed-log.ts'
import { forwardError } from './forwarding/forward-error.ts'
import {
  decodeForwardedAnswer,
  encodeForwardedRequest,
  FORWARD,
  type ForwardedRequest,
} from './forwarding/forwarded-request.ts'
import { requestsFromSecondaries } from './forwarding/requests-from-secondaries.ts'
import { filterHere } from './inspect/filter-here.ts'
import { inspector } from './inspect/inspect-roles.ts'
import { recover } from './maintenance/recover.ts'
import { indexCare } from './maintenance/reindex.ts'
import type { ModeWord, ReplicationManager } from './manager.ts'
import { type PrimaryRole, primaryRole } from './primary-role.ts'
import type { FencedRecord } from './promotion/fencing.ts'
import { carryFollowedEpoch } from './promotion/followed-epoch.ts'
import { promotionReceipts } from './promotion/receipts.ts'
import type { AddressRecord } from './resolver/address-book.ts'
import { clusterAddresses } from './resolver/cluster-addresses.ts'
import { loadLeft } from './role-left.ts'
import {
  type FilterRecord,
  type KnownSecondary,
  type PrimaryRecord,
  type ReplicationKind,
  type RoleRecord,
  roleRecords,
} from './role-records.ts'
import { type SecondaryRole, secondaryRole } from './secondary-role.ts'
import { unreplicated } from './unreplicated/unreplicated.ts'

/** As of a secondary's id. */
const LONGEST_ID = 63
const KINDS: readonly ReplicationKind[] = ['performance', 'dr']

export interface RolesComponents {
  unsealed: Unsealed
  lifeCycle: Pick<LifeCycle, 'transition' | 'adopt'>
  listener: ClusterListener
  clock: Clock
  log: Log
  operationTokens: OperationTokens
  /** Default: nothing is counted. */
  meter?: Meter
  /** The nodes over this storage. Default: there is only one. */
  nodes?: (() => Promise<NodeRecord[]>) | undefined
  /** Absent on a DR secondary, which wraps nothing. */
  wrapping?: WrappingStore
  /** Runs what a performance secondary forwards; `allowed` tells which mounts it may know of. */
  forwarded?(request: ForwardedRequest, allowed: (mountPoint: string) => boolean): Promise<BackendResponse | undefined>
  /** Mounts that are replicated unless a filter withholds them. Default: none. */
  mountPoints?(): string[]
  /** Whether a token of the primary permits a change of the DR role. Default: none does. */
  authorizesDr?: AuthorizesDr
  /** Absent on a DR secondary, which revokes nothing. */
  leaseHold?: Pick<LeaseHold, 'state' | 'superseded'>
}

export interface RolesOptions {
  apiAddress: string
  clusterAddress: string
  /** How long a forwarded write waits until it is visible here, ms. Vault's best_effort_wal_wait_duration, 2 s. */
  walWaitMs: number
  forwardTimeoutMs?: number
  /** Replication protocol versions to speak. Default: all that this build has. */
  protocol?: VersionRange | undefined
  /** Dial the addresses a primary tells of, beside those given at activation. Default true. */
  resolverDiscoverServers?: boolean | undefined
  /** Between two comparisons of the Merkle index with the data, ms; 0 or absent = none. */
  scrubIntervalMs?: number
}

export interface Roles extends ReplicationManager {
  /** Follows and serves; call once the services are there to be told of changes. */
  start(): void
  stop(): Promise<void>
  /** Mounts moved or vanished: what secondaries may hold may differ. */
  mountsChanged(): void
  isPerformanceSecondary(): boolean
  /** What there is to say of the roles at this moment. */
  metrics(): Promise<Sample[]>
  /** `bootstrapping` in place of `secondary` until the first sync is over. */
  shownMode(kind: ReplicationKind): ModeWord
  /** Id of the performance replication set this cluster is in, "" when it is in none; and on a secondary of it how far it has come. */
  readonly performanceSet: string
  readonly followed: Followed | undefined
  /** What the link to the primary has shown, on a secondary that has one. */
  upstream(): HeartbeatStatus | undefined
}

/** Reads the stored roles and sets them in force. */
export async function openRoles(components: RolesComponents, options: RolesOptions): Promise<Roles> {
  const { unsealed, lifeCycle, listener, clock, log, operationTokens } = components
  const { store } = unsealed
  const records = roleRecords(unsealed.barrier)
  const stored: Record<ReplicationKind, RoleRecord> = {
    performance: await records.role('performance'),
    dr: await records.role('dr'),
  }
  // A DR secondary holds its primary's performance role without playing it.
  if (stored.dr.mode === 'secondary') stored.performance = { mode: 'disabled' }
  store.modes.performance = stored.performance.mode
  store.modes.dr = stored.dr.mode
  const filters = new Map<string, FilterRecord>()
  const primaries: Partial<Record<ReplicationKind, PrimaryRole>> = {}
  const secondaries: Partial<Record<ReplicationKind, SecondaryRole>> = {}
  const loaded = await Promise.all(KINDS.map((kind) => loadMembers(kind)))

  async function loadMembers(kind: ReplicationKind): Promise<KnownSecondary[]> {
    if (stored[kind].mode !== 'primary') return []
    const members = await records.secondaries(kind)
    if (kind === 'performance') {
      for (const [id, filter] of await records.filters()) filters.set(id, filter)
    }
    return members
  }

  if (stored.performance.mode === 'secondary') await carryFollowedEpoch(records, store.logged, stored.performance)
  const leader = (await readClusterIdentity(unsealed.barrier))?.id
  const receipts = promotionReceipts(unsealed.barrier)
  const kept = unreplicated({ logged: store.logged, barrier: unsealed.barrier, keyring: () => unsealed.keyring() })
  const left = await loadLeft({ records, unreplicated: kept, store, stored })

  const nodeAddresses = clusterAddresses(log, options.clusterAddress, components.nodes)
  const addresses = () => ({ api: options.apiAddress, cluster: nodeAddresses.current() })
  const shared = {
    store: store.logged,
    listener,
    classes: store.classes,
    clock,
    log,
    addresses,
    canary: () => probing?.time() ?? 0,
    meter: components.meter,
    resolve: options.resolverDiscoverServers,
    protocol: options.protocol,
  }
  let probing: Canary | undefined
  const onProbe = (ms: number): void => components.meter?.observe('wal.flushReady', ms)

  function startPrimary(kind: ReplicationKind, record: PrimaryRecord, members: readonly KnownSecondary[]): void {
    const { forwarded } = components
    const answer = requestsFromSecondaries({
      unsealed,
      store: store.logged,
      kind,
      log,
      clusterId: record.clusterId,
      redeem: redeemActivation({ storage: unsealed.barrier, clock, known: () => primary(kind).known() }, kind),
      forwarded:
        kind === 'performance' && forwarded !== undefined
          ? (id, request) =>
              forwarded(request, (point) => primaries.performance?.view(id)?.ships(shipped, point) ?? false)
          : undefined,
      promotions: () => receipts.all(kind),
      async rejoined(id, epoch) {
        log.info('a former primary follows this cluster', { kind, id, epoch })
        if (kind === 'dr') await components.leaseHold?.superseded(epoch)
      },
    })
    const mounts = { pathOf: (mount: string) => store.classes.mountPath(mount) }
    const onFenced = (fenced: FencedRecord): void => {
      records.saveFenced(kind, fenced).catch((error: unknown) => {
        log.warn('that this primary is stale could not be kept', { kind, error: String(error) })
      })
    }
    primaries[kind] = primaryRole(
      { ...shared, mounts, answer, onFenced, leader },
      { kind, record, secondaries: members, filters, fenced: left[kind].fenced },
    )
  }

  const onEpoch = (epoch: number): void => {
    records
      .followedEpoch()
      .then((kept) => (epoch > kept ? records.saveFollowedEpoch(epoch) : undefined))
      .catch((error: unknown) =>
        log.warn('the epoch that is followed could not be kept', { epoch, error: String(error) }),
      )
  }

  function start(): void {
    if (KINDS.some((kind) => stored[kind].mode !== 'disabled')) {
      probing = canary(unsealed.barrier, clock, log, onProbe)
      nodeAddresses.start()
    }
    KINDS.forEach((kind, index) => {
      const record = stored[kind]
      if (record.mode === 'primary') startPrimary(kind, record, loaded[index]!)
      if (record.mode === 'secondary') {
        const onAddresses = (found: AddressRecord): void => {
          records.saveHeardAddresses(kind, found).catch((error: unknown) => {
            log.warn("the primary's addresses could not be kept", { kind, error: String(error) })
          })
        }
        secondaries[kind] = secondaryRole(
          {
            ...{ ...shared, onAddresses, keyring: () => unsealed.keyring() },
            onHandover: (handover) => records.saveHandover(kind, handover),
            ...(kind === 'performance' ? { onEpoch } : {}),
          },
          kind,
          record,
          left[kind],
        )
      }
    })
  }

  function primary(kind: ReplicationKind): PrimaryRole {
    const role = primaries[kind]
    if (role === undefined) throw invalid(`cluster is not a ${kind} replication primary`)
    return role
  }

  function secondary(kind: ReplicationKind): SecondaryRole {
    const role = secondaries[kind]
    if (role === undefined)
      throw invalid(kind === 'dr' ? 'Not a DR secondary.' : 'cluster is not a performance replication secondary')
    return role
  }

  const changes = roleChanges({
    ...{ unsealed, lifeCycle, clock, log, primary, secondary, unreplicated: kept },
    role: (kind) => stored[kind],
  })
  const issueToken = secondaryTokens({
    ...{ records, clock, wrapping: components.wrapping, filter: (id) => filters.get(id) },
    ...{ apiAddress: options.apiAddress, clusterAddresses: nodeAddresses.current },
  })

  const keys = activationKeys(unsealed.barrier)
  const care = await indexCare(
    {
      ...{ store: store.logged, storage: unsealed.barrier, clock, log },
      upstream() {
        const kind = secondaries.dr === undefined ? 'performance' : 'dr'
        const role = secondaries[kind]
        return role && { classes: CLASSES_OF_KIND[kind], compare: (reason) => void role.recover(reason) }
      },
      repaired() {
        for (const role of Object.values(secondaries)) role.recover('the Merkle index was rebuilt')
      },
    },
    { scrubIntervalMs: options.scrubIntervalMs ?? 0 },
  )

  const roles: Roles = {
    start,
    async stop() {
      changes.end()
      await Promise.all([
        care.stop(),
        probing?.stop(),
        nodeAddresses.stop(),
        ...[...Object.values(primaries), ...Object.values(secondaries)].map((role) => role.close()),
      ])
    },
    mountsChanged() {
      for (const role of Object.values(primaries)) role.viewsChanged()
    },
    performanceSet: stored.performance.mode === 'disabled' ? '' : stored.performance.clusterId,
    followed:
      stored.performance.mode === 'secondary'
        ? await followedLog(store.logged, stored.performance, () => secondaries.performance)
        : undefined,
    upstream: () => (secondaries.dr ?? secondaries.performance)?.heartbeat(),
    isPerformanceSecondary: () => stored.performance.mode === 'secondary',
    async metrics() {
      const sessions = Object.values(primaries).map((role) => role.sessions())
      const status = { performance: await roles.status('performance'), dr: await roles.status('dr') }
      const { log: kept } = store.logged
      return replicationGauges({ now: clock.now(), log: kept, status, storage: probing?.health(), sessions })
    },
    mode: (kind) => stored[kind].mode,
    lastWal: () => store.logged.log.head().index,
    async status(kind) {
      const shown = primaries[kind]?.status() ?? secondaries[kind]?.status()
      if (shown === undefined) return { mode: 'disabled' }
      const held = components.leaseHold?.state() !== undefined
      const afterPromotion = kind === 'dr' && stored.dr.mode === 'primary' ? { lease_revocation_held: held } : {}
      return { ...shown, ...care.status(kind), ...afterPromotion }
    },
    shownMode: (kind) => secondaries[kind]?.mode() ?? stored[kind].mode,
    care,
    recover: () => recover({ mode: (kind) => stored[kind].mode, secondary: (kind) => secondaries[kind] }),

    diagnostician: diagnostician({
      ...{ clock, store: store.logged, nodes: components.nodes },
      record: (kind) => stored[kind],
      status: (kind) => roles.status(kind),
      storage: () => probing?.health(),
      view: (id) => primaries.performance?.view(id),
      request: (id, method, body, given) => primary('performance').request(id, method, body, given),
    }),
    inspector: inspector({
      ...{ store: store.logged, primary, secondary },
      pathOf: (mount) => store.classes.mountPath(mount),
      filter: (id) => filters.get(id),
    }),

    ...changes,
    async secondaryToken(kind, input) {
      const role = primary(kind)
      const fenced = role.fenced()
      if (fenced !== undefined) {
        const text = `epoch ${fenced.epoch} has begun elsewhere, says the secondary ${JSON.stringify(fenced.by)}: this primary is stale, demote it (or revoke that secondary)`
        throw new CoreError('CORE_UNAVAILABLE', text)
      }
      return issueToken(kind, role, input)
    },
    async revokeSecondary(kind, id) {
      const role = primary(kind)
      if (!role.known().some((known) => known.id === id))
        throw invalid(`id: no secondary has the id ${JSON.stringify(id)}`)
      await records.removeSecondary(kind, id)
      const fenced = role.fenced()
      role.revoke(id)
      if (fenced !== undefined && role.fenced() === undefined) await records.removeFenced(kind)
    },

    async generatePublicKey(kind) {
      if (stored[kind].mode === 'primary') throw invalid(`cluster is a ${kind} replication primary`)
      return keys.generate(kind)
    },

    async filter(id) {
      primary('performance')
      return filters.get(id)
    },
    async setFilter(id, input) {
      const role = primary('performance')
      const filter = checkFilter(id, input)
      await records.saveFilter(id, filter)
      filters.set(id, filter)
      role.setFilter(id, filter)
    },
    async deleteFilter(id) {
      const role = primary('performance')
      await records.removeFilter(id)
      filters.delete(id)
      role.setFilter(id, undefined)
    },
    filterHere: async (id) => filterHere(secondary('performance'), id),
    async dynamicFilter(id) {
      primary('performance')
      const settings = filters.get(id)
      if (settings === undefined) return undefined
      const filter = pathsFilter(settings)
      const mounts = (components.mountPoints?.() ?? []).filter((point) => !filter.allows(point))
      return { mounts: mounts.sort(), namespaces: [] }
    },

    receipts,
    unreplicated: kept,

    checkOperationToken: async (token, request) =>
      (await operationTokens.check(token))
        ? { token: 'dr operation token', accessor: '' }
        : components.authorizesDr?.(token, request),
    deleteOperationToken: () => operationTokens.delete(),

    async forward(request, caller, { untilApplied = true, timeoutMs = options.forwardTimeoutMs ?? 30_000 } = {}) {
      try {
        const role = secondary('performance')
        const ask = () => role.request(FORWARD, encodeForwardedRequest(request, caller), { timeoutMs })
        const body = await timedForward(components.meter, ask)
        const answer = decodeForwardedAnswer(body)
        if (!untilApplied || (await role.applied(answer.place.index, options.walWaitMs))) return answer
        const { response, place } = answer
        return { response: { ...response, warnings: [...(response?.warnings ?? []), STALE] }, place }
      } catch (error) {
        throw forwardError(error)
      }
    },
  }
  return roles
}

const STALE =
  "Timeout hit while waiting for local replicated cluster to apply primary's write; this client may encounter stale reads of values written during this operation."
const shipped = { class: 'replicated', mount: 'core' } as const

function checkFilter(id: string, input: { mode: string; paths: string[] }): FilterRecord {
  if (id.length > LONGEST_ID) throw invalid(`id: expected at most ${LONGEST_ID} characters`)
  try {
    return pathsFilter(input as FilterRecord).toJSON()
  } catch (error) {
    throw invalid((error as Error).message)
  }
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
