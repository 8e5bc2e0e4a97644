/** The cluster's two roles, put together: what is stored (`stored-roles`), what runs (`running-roles`), and what can be asked of them. */
import type { BackendResponse } from '@lockstep/backend'
import { CLASSES_OF_KIND, type HeartbeatStatus, type VersionRange } from '@lockstep/replication'
import type { ClusterListener } from '@lockstep/replication-transport'
import { readClusterIdentity } from '../cluster-identity.ts'
import type { Followed } from '../consistency/consistency.ts'
import { type Clock, CoreError, type Log, type WrappingStore } from '../contracts.ts'
import type { LeaseHold } from '../leases/lease-hold.ts'
import type { Meter, Sample } from '../metrics/meter.ts'
import type { LifeCycle } from '../seal-life-cycle/life-cycle-contract.ts'
import type { NodeRecord } from '../seal-life-cycle/node-registry.ts'
import type { Unsealed } from '../seal-life-cycle/services.ts'
import { activationKeys } from './activation/activation-keys.ts'
import { admission } from './activation/admission.ts'
import { secondaryTokens } from './activation/secondary-tokens.ts'
import { roleChanges } from './changes/role-changes.ts'
import type { AuthorizesDr } from './consent/dr-authorization.ts'
import type { OperationTokens } from './consent/operation-token.ts'
import { diagnostician } from './diagnostics/diagnostics-roles.ts'
import { followedLog } from './forwarding/followed-log.ts'
import { forwardToPrimary } from './forwarding/forward-to-primary.ts'
import type { ForwardedRequest } from './forwarding/forwarded-request.ts'
import { filterHere } from './inspect/filter-here.ts'
import { inspector } from './inspect/inspect-roles.ts'
import { recover } from './maintenance/recover.ts'
import { indexCare } from './maintenance/reindex.ts'
import type { ModeWord, ReplicationManager } from './manager.ts'
import { promotionReceipts } from './promotion/receipts.ts'
import { clusterAddresses } from './resolver/cluster-addresses.ts'
import { loadLeft } from './role-left.ts'
import { type FilterRecord, type ReplicationKind, roleRecords } from './role-records.ts'
import { runningRoles } from './running-roles.ts'
import { secondaryFilters } from './secondary-filters.ts'
import { shownRoles } from './shown-roles.ts'
import { loadRoles } from './stored-roles.ts'
import { unreplicated } from './unreplicated/unreplicated.ts'

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
  const { unsealed, lifeCycle, listener, clock, log, operationTokens, meter, forwarded, leaseHold } = components
  const { apiAddress } = options
  const { store } = unsealed
  const records = roleRecords(unsealed.barrier)
  const stored = await loadRoles(records, store)
  const { inForce, filters } = stored
  const filterOf = (id: string): FilterRecord | undefined => filters.get(id)
  const leader = (await readClusterIdentity(unsealed.barrier))?.id
  const receipts = promotionReceipts(unsealed.barrier)
  const kept = unreplicated({ logged: store.logged, barrier: unsealed.barrier, keyring: () => unsealed.keyring() })
  const left = await loadLeft({ records, unreplicated: kept, store, stored: inForce })
  const nodeAddresses = clusterAddresses(log, options.clusterAddress, components.nodes)
  const running = runningRoles(
    { unsealed, listener, clock, log, meter, records, receipts, nodeAddresses, forwarded, leaseHold },
    { stored, left, leader, apiAddress, protocol: options.protocol, resolve: options.resolverDiscoverServers },
  )
  const { primaries, secondaries, primary, secondary } = running

  const changes = roleChanges({
    ...{ unsealed, lifeCycle, clock, log, primary, secondary, unreplicated: kept },
    role: (kind) => inForce[kind],
  })
  const issueToken = secondaryTokens({
    ...{ records, clock, wrapping: components.wrapping, filter: filterOf },
    ...{ apiAddress, clusterAddresses: nodeAddresses.current },
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

  const shown = shownRoles({ clock, store: store.logged, inForce, running, care, leaseHold })

  return {
    start: running.start,
    async stop() {
      changes.end()
      await Promise.all([care.stop(), running.stop()])
    },
    mountsChanged() {
      for (const role of Object.values(primaries)) role.viewsChanged()
    },
    performanceSet: inForce.performance.mode === 'disabled' ? '' : inForce.performance.clusterId,
    followed:
      inForce.performance.mode === 'secondary'
        ? await followedLog(store.logged, inForce.performance, () => secondaries.performance)
        : undefined,
    upstream: () => (secondaries.dr ?? secondaries.performance)?.heartbeat(),
    isPerformanceSecondary: () => inForce.performance.mode === 'secondary',
    ...shown,
    lastWal: () => store.logged.log.head().index,
    care,
    recover: () => recover({ mode: (kind) => inForce[kind].mode, secondary: (kind) => secondaries[kind] }),

    diagnostician: diagnostician({
      ...{ clock, store: store.logged, nodes: components.nodes },
      record: (kind) => inForce[kind],
      status: shown.status,
      storage: running.storage,
      view: (id) => primaries.performance?.view(id),
      request: (id, method, body, given) => primary('performance').request(id, method, body, given),
    }),
    inspector: inspector({
      ...{ store: store.logged, primary, secondary },
      pathOf: (mount) => store.classes.mountPath(mount),
      filter: filterOf,
    }),

    ...changes,
    ...admission({ records, primary, issueToken }),
    async generatePublicKey(kind) {
      if (inForce[kind].mode === 'primary') throw invalid(`cluster is a ${kind} replication primary`)
      return keys.generate(kind)
    },

    ...secondaryFilters({ records, filters, primary, mountPoints: components.mountPoints }),
    filterHere: async (id) => filterHere(secondary('performance'), id),
    receipts,
    unreplicated: kept,

    checkOperationToken: async (token, request) =>
      (await operationTokens.check(token))
        ? { token: 'dr operation token', accessor: '' }
        : components.authorizesDr?.(token, request),
    deleteOperationToken: () => operationTokens.delete(),

    forward: forwardToPrimary({ secondary, meter }, options),
  }
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
