/** The cluster's two roles, running: what is stored (`role-records`) made into primaries and followers. */
import type { BackendResponse } from '@lockstep/backend'
import { pathsFilter } from '@lockstep/paths-filter'
import type { HeartbeatStatus } from '@lockstep/replication'
import type { ClusterListener } from '@lockstep/replication-transport'
import type { Followed } from '../consistency/consistency.ts'
import { type Clock, CoreError, type Log, type WrappingStore } from '../contracts.ts'
import type { LifeCycle } from '../seal-life-cycle/life-cycle.ts'
import type { Unsealed } from '../seal-life-cycle/services.ts'
import { type Canary, canary } from './canary.ts'
import { diagnostician } from './diagnostics-roles.ts'
import type { AuthorizesDr } from './dr-authorization.ts'
import { followedLog } from './followed-log.ts'
import { forwardError } from './forward-error.ts'
import { decodeForwardedAnswer, encodeForwardedRequest, FORWARD, type ForwardedRequest } from './forwarded-request.ts'
import { inspector } from './inspect-roles.ts'
import type { ReplicationManager } from './manager.ts'
import type { OperationTokens } from './operation-token.ts'
import { type PrimaryRole, primaryRole } from './primary-role.ts'
import { requestsFromSecondaries } from './requests-from-secondaries.ts'
import { roleChanges } from './role-changes.ts'
import {
  type FilterRecord,
  type KnownSecondary,
  type PrimaryRecord,
  type ReplicationKind,
  type RoleRecord,
  roleRecords,
} from './role-records.ts'
import { type SecondaryRole, secondaryRole } from './secondary-role.ts'
import { secondaryTokens } from './secondary-tokens.ts'

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
  /** Absent on a DR secondary, which wraps nothing. */
  wrapping?: WrappingStore
  /** Runs what a performance secondary forwards; `allowed` tells which mounts it may know of. */
  forwarded?(request: ForwardedRequest, allowed: (mountPoint: string) => boolean): Promise<BackendResponse | undefined>
  /** Mounts that are replicated unless a filter withholds them. Default: none. */
  mountPoints?(): string[]
  /** Whether a token of the primary permits a change of the DR role. Default: none does. */
  authorizesDr?: AuthorizesDr
}

export interface RolesOptions {
  apiAddress: string
  clusterAddress: string
  /** How long a forwarded write waits until it is visible here, ms. Vault's best_effort_wal_wait_duration, 2 s. */
  walWaitMs: number
  forwardTimeoutMs?: number
}

export interface Roles extends ReplicationManager {
  /** Follows and serves; call once the services are there to be told of changes. */
  start(): void
  stop(): Promise<void>
  /** Mounts moved or vanished: what secondaries may hold may differ. */
  mountsChanged(): void
  isPerformanceSecondary(): boolean
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

  const heard: Partial<Record<ReplicationKind, string[]>> = {}
  for (const kind of KINDS) if (stored[kind].mode === 'secondary') heard[kind] = await records.heardAddresses(kind)

  const addresses = () => ({ api: options.apiAddress, cluster: [options.clusterAddress] })
  const shared = {
    store: store.logged,
    listener,
    classes: store.classes,
    clock,
    log,
    addresses,
    canary: () => probing?.time() ?? 0,
  }
  let probing: Canary | undefined

  function startPrimary(kind: ReplicationKind, record: PrimaryRecord, members: readonly KnownSecondary[]): void {
    const { forwarded } = components
    const answer = requestsFromSecondaries({
      unsealed,
      store: store.logged,
      kind,
      log,
      clusterId: record.clusterId,
      forwarded:
        kind === 'performance' && forwarded !== undefined
          ? (id, request) =>
              forwarded(request, (point) => primaries.performance?.view(id)?.ships(shipped, point) ?? false)
          : undefined,
    })
    const mounts = { pathOf: (mount: string) => store.classes.mountPath(mount) }
    primaries[kind] = primaryRole({ ...shared, mounts, answer }, { kind, record, secondaries: members, filters })
  }

  function start(): void {
    if (KINDS.some((kind) => stored[kind].mode !== 'disabled')) probing = canary(unsealed.barrier, clock, log)
    KINDS.forEach((kind, index) => {
      const record = stored[kind]
      if (record.mode === 'primary') startPrimary(kind, record, loaded[index]!)
      if (record.mode === 'secondary') {
        const onAddresses = (found: string[]): void => {
          records.saveHeardAddresses(kind, found).catch((error: unknown) => {
            log.warn("the primary's addresses could not be kept", { kind, error: String(error) })
          })
        }
        secondaries[kind] = secondaryRole({ ...shared, onAddresses }, kind, record, heard[kind])
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

  const changes = roleChanges({ unsealed, lifeCycle, clock, log, role: (kind) => stored[kind], primary, secondary })
  const issueToken = secondaryTokens({
    ...{ records, clock, wrapping: components.wrapping, filter: (id) => filters.get(id) },
    ...{ apiAddress: options.apiAddress, clusterAddress: options.clusterAddress },
  })

  const roles: Roles = {
    start,
    async stop() {
      changes.end()
      await Promise.all([
        probing?.stop(),
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
    mode: (kind) => stored[kind].mode,
    lastWal: () => store.logged.log.head().index,
    async status(kind) {
      return primaries[kind]?.status() ?? secondaries[kind]?.status() ?? { mode: 'disabled' }
    },

    diagnostician: diagnostician({
      ...{ clock, store: store.logged, logBytes: store.logBytes },
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
    secondaryToken: async (kind, input) => issueToken(kind, primary(kind), input),
    async revokeSecondary(kind, id) {
      const role = primary(kind)
      if (!role.known().some((known) => known.id === id))
        throw invalid(`id: no secondary has the id ${JSON.stringify(id)}`)
      await records.removeSecondary(kind, id)
      role.revoke(id)
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
    async dynamicFilter(id) {
      const settings = filters.get(id)
      if (settings === undefined) return undefined
      const filter = pathsFilter(settings)
      const mounts = (components.mountPoints?.() ?? []).filter((point) => !filter.allows(point))
      return { mounts: mounts.sort(), namespaces: [] }
    },

    checkOperationToken: async (token, request) =>
      (await operationTokens.check(token)) || ((await components.authorizesDr?.(token, request)) ?? false),
    deleteOperationToken: () => operationTokens.delete(),

    async forward(request, caller, { untilApplied = true, timeoutMs = options.forwardTimeoutMs ?? 30_000 } = {}) {
      try {
        const role = secondary('performance')
        const body = await role.request(FORWARD, encodeForwardedRequest(request, caller), { timeoutMs })
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
