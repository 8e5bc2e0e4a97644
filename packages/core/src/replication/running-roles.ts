/** The roles of this cluster while they run: primaries and followers, and the probing of the storage that each tells its peers of. */
import type { BackendResponse } from '@lockstep/backend'
import type { VersionRange } from '@lockstep/replication'
import type { ClusterListener } from '@lockstep/replication-transport'
import { type Clock, CoreError, type Log } from '../contracts.ts'
import type { LeaseHold } from '../leases/lease-hold.ts'
import type { Meter } from '../metrics/meter.ts'
import { serialQueue } from '../mounts/serial-queue.ts'
import type { Unsealed } from '../seal-life-cycle/services.ts'
import { redeemActivation } from './activation/redeem-activation.ts'
import { type Canary, canary, type StorageHealth } from './canary.ts'
import type { ForwardedRequest } from './forwarding/forwarded-request.ts'
import { requestsFromSecondaries } from './forwarding/requests-from-secondaries.ts'
import { type PrimaryRole, primaryRole } from './primary-role.ts'
import type { FencedRecord } from './promotion/fencing.ts'
import type { Receipts } from './promotion/receipts.ts'
import type { AddressRecord } from './resolver/address-book.ts'
import type { ClusterAddresses } from './resolver/cluster-addresses.ts'
import type { RoleLeft } from './role-left.ts'
import type { PrimaryRecord, ReplicationKind, RoleRecords, SecondaryRecord } from './role-records.ts'
import { type SecondaryRole, secondaryRole } from './secondary-role.ts'
import type { StoredRoles } from './stored-roles.ts'

const KINDS: readonly ReplicationKind[] = ['performance', 'dr']

export interface RunningRolesComponents {
  unsealed: Unsealed
  listener: ClusterListener
  clock: Clock
  log: Log
  meter?: Meter | undefined
  records: RoleRecords
  receipts: Pick<Receipts, 'all'>
  /** Started and stopped with the roles. */
  nodeAddresses: ClusterAddresses
  /** Runs what a performance secondary forwards; `allowed` tells which mounts it may know of. */
  forwarded?:
    | ((request: ForwardedRequest, allowed: (mountPoint: string) => boolean) => Promise<BackendResponse | undefined>)
    | undefined
  leaseHold?: Pick<LeaseHold, 'superseded'> | undefined
}

export interface RunningRolesInit {
  stored: StoredRoles
  left: Readonly<Record<ReplicationKind, RoleLeft>>
  /** This cluster's own id. */
  leader: string | undefined
  apiAddress: string
  /** Default: all versions of this build. */
  protocol?: VersionRange | undefined
  /** Dial the addresses a primary tells of, beside those given at activation. Default true. */
  resolve?: boolean | undefined
}

export interface RunningRoles {
  start(): void
  stop(): Promise<void>
  /** Those that were started. */
  readonly primaries: Readonly<Partial<Record<ReplicationKind, PrimaryRole>>>
  readonly secondaries: Readonly<Partial<Record<ReplicationKind, SecondaryRole>>>
  /** Both throw CORE_INVALID_REQUEST when the cluster is none. */
  primary(kind: ReplicationKind): PrimaryRole
  secondary(kind: ReplicationKind): SecondaryRole
  /** Undefined when nothing probes the storage. */
  storage(): StorageHealth | undefined
}

export function runningRoles(components: RunningRolesComponents, init: RunningRolesInit): RunningRoles {
  const { unsealed, listener, clock, log, meter, records, receipts, nodeAddresses } = components
  const { stored, left, leader } = init
  const { store } = unsealed
  const primaries: Partial<Record<ReplicationKind, PrimaryRole>> = {}
  const secondaries: Partial<Record<ReplicationKind, SecondaryRole>> = {}
  let probing: Canary | undefined
  const shared = {
    store: store.logged,
    listener,
    classes: store.classes,
    clock,
    log,
    addresses: () => ({ api: init.apiAddress, cluster: nodeAddresses.current() }),
    canary: () => probing?.time() ?? 0,
    meter,
    resolve: init.resolve,
    protocol: init.protocol,
  }

  /** What nobody waits for is stored in the order in which it came, and before the roles have stopped. */
  const noted = serialQueue()
  function note(body: () => Promise<unknown>, failure: string, fields: Record<string, unknown>): void {
    noted(body).catch((error: unknown) => log.warn(failure, { ...fields, error: String(error) }))
  }

  function startPrimary(kind: ReplicationKind, record: PrimaryRecord): void {
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
    const onFenced = (fenced: FencedRecord): void =>
      note(() => records.saveFenced(kind, fenced), 'that this primary is stale could not be kept', { kind })
    primaries[kind] = primaryRole(
      { ...shared, mounts, answer, onFenced, leader },
      { kind, record, secondaries: stored.members[kind], filters: stored.filters, fenced: left[kind].fenced },
    )
  }

  const onEpoch = (epoch: number): void => {
    const save = async (): Promise<void> => {
      if (epoch > (await records.followedEpoch())) await records.saveFollowedEpoch(epoch)
    }
    note(save, 'the epoch that is followed could not be kept', { epoch })
  }

  function startSecondary(kind: ReplicationKind, record: SecondaryRecord): void {
    const onAddresses = (found: AddressRecord): void =>
      note(() => records.saveHeardAddresses(kind, found), "the primary's addresses could not be kept", { kind })
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

  return {
    start() {
      if (KINDS.some((kind) => stored.inForce[kind].mode !== 'disabled')) {
        probing = canary(unsealed.barrier, clock, log, (ms) => meter?.observe('wal.flushReady', ms))
        nodeAddresses.start()
      }
      for (const kind of KINDS) {
        const record = stored.inForce[kind]
        if (record.mode === 'primary') startPrimary(kind, record)
        if (record.mode === 'secondary') startSecondary(kind, record)
      }
    },
    async stop() {
      await Promise.all([
        probing?.stop(),
        nodeAddresses.stop(),
        ...[...Object.values(primaries), ...Object.values(secondaries)].map((role) => role.close()),
      ])
      await noted(async () => {})
    },
    primaries,
    secondaries,
    primary,
    secondary,
    storage: () => probing?.health(),
  }
}

const shipped = { class: 'replicated', mount: 'core' } as const

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
