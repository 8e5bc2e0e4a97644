/**
 * Every change of role. It is checked and answered at once, then carried out by the life cycle with the services stopped; one at a time,
 * so that what was checked still holds when it runs. What a change stores is one transaction: after a crash the cluster has the old
 * role or the new one, with all that belongs to it.
 */
import { randomUUID } from 'node:crypto'
import { deserializeKeyring } from '@lockstep/barrier'
import { createReplicationCa, issuePrimaryServer } from '@lockstep/bootstrap'
import { decodePosition, encodePosition } from '@lockstep/replication'
import { type Transaction, transact } from '@lockstep/storage'
import { copyClusterIdentity } from '../cluster-identity.ts'
import { type Clock, CoreError, type Log } from '../contracts.ts'
import type { ClusterStore } from '../seal-life-cycle/cluster-store.ts'
import type { LifeCycle } from '../seal-life-cycle/life-cycle.ts'
import type { Unsealed } from '../seal-life-cycle/services.ts'
import { type Activation, fetchBootstrap, redeemToken } from './activate.ts'
import type { BootstrapReply } from './bootstrap-reply.ts'
import type { ReplicationManager } from './manager.ts'
import { answeringAddress } from './primary-address.ts'
import {
  type PrimaryRecord,
  type ReplicationKind,
  type RoleRecord,
  roleKeys,
  roleRecords,
  type SecondaryRecord,
} from './role-records.ts'
import type { SecondaryRole } from './secondary-role.ts'

export interface RoleChangesComponents {
  unsealed: Unsealed
  lifeCycle: Pick<LifeCycle, 'transition' | 'adopt'>
  clock: Clock
  log: Log
  /** The role in force. */
  role(kind: ReplicationKind): RoleRecord
  /** Throws CORE_INVALID_REQUEST when the cluster is none. */
  primary(kind: ReplicationKind): { readonly record: PrimaryRecord }
  secondary(kind: ReplicationKind): Pick<SecondaryRole, 'record' | 'caughtUp' | 'status'>
}

export type RoleChanges = Pick<
  ReplicationManager,
  | 'enablePrimary'
  | 'demotePrimary'
  | 'disablePrimary'
  | 'enableSecondary'
  | 'promoteSecondary'
  | 'disableSecondary'
  | 'updatePrimary'
> & {
  /** From now on every change is refused. */
  end(): void
}

/** What is stored with the new role, in the same transaction. */
type Also = (transaction: Transaction, records: ReturnType<typeof roleRecords>) => Promise<void>

export function roleChanges(components: RoleChangesComponents): RoleChanges {
  const { unsealed, lifeCycle, clock, log, role, primary, secondary } = components
  let underWay = false
  let ended = false

  /** `prepare` checks, and resolves with what is to be done once the answer is out. */
  async function change(kind: ReplicationKind, prepare: () => Promise<() => Promise<void>>): Promise<void> {
    if (underWay || ended) {
      throw new CoreError('CORE_UNAVAILABLE', 'another change of the replication role is under way, try again shortly')
    }
    underWay = true
    try {
      const carryOut = await prepare()
      setImmediate(() => {
        carryOut()
          .catch((error: unknown) => log.error('changing the replication role failed', { kind, error: String(error) }))
          .finally(() => {
            underWay = false
          })
      })
    } catch (error) {
      underWay = false
      throw error
    }
  }

  /** `first` is for what cannot be part of the transaction and does no harm without it. */
  function store(
    kind: ReplicationKind,
    next: RoleRecord,
    also: Also = async () => {},
    first: (store: ClusterStore) => Promise<void> = async () => {},
  ): () => Promise<void> {
    return () =>
      lifeCycle.transition(async (cluster) => {
        // What the role forbids to write is lifted for the change itself.
        cluster.store.modes[kind] = 'disabled'
        await first(cluster.store)
        await transact(cluster.barrier, async (transaction) => {
          const records = roleRecords(transaction)
          await also(transaction, records)
          await records.saveRole(kind, next)
        })
        log.info('the replication role has changed', { kind, mode: next.mode })
      })
  }

  async function newPrimary(clusterId: string, primaryClusterAddr: string): Promise<PrimaryRecord> {
    const now = clock.now()
    const ca = await createReplicationCa({ clusterId, now })
    const server = await issuePrimaryServer(ca, { now })
    const { certificatePem: certificate, privateKeyPem: privateKey } = server
    return {
      mode: 'primary',
      clusterId,
      primaryClusterAddr,
      ca,
      server: { caCertificate: ca.certificatePem, certificate, privateKey },
      enabledAt: now,
    }
  }

  function secondaryRecord({ package: activation, primaryApiAddr, credentials }: Activation): SecondaryRecord {
    return {
      mode: 'secondary',
      clusterId: activation.clusterId,
      secondaryId: activation.id,
      primaryClusterAddrs: [activation.primaryClusterAddr],
      primaryApiAddr,
      credentials,
      enabledAt: clock.now(),
    }
  }

  function assertShown(kind: ReplicationKind): void {
    const { record, caughtUp, status } = secondary(kind)
    if (record.credentials === null || record.primaryClusterAddrs.length === 0 || caughtUp()) return
    const { lag_ms, last_error } = status()
    const why = last_error ? `the link to the primary is down (${last_error})` : `it is ${lag_ms} ms behind`
    throw new CoreError(
      'CORE_UNAVAILABLE',
      `this secondary cannot be shown to hold all of the primary's writes: ${why}; set force to promote it anyway`,
    )
  }

  /** Data is kept, so it must be readable under the primary's keys. */
  function assertSameRootKey(reply: BootstrapReply): void {
    const keyring = deserializeKeyring(reply.keyring)
    const rootKey = keyring.rootKey()
    const same = unsealed.keyring().hasRootKey(rootKey)
    for (const key of [rootKey, reply.keyring, reply.operatorKey.key]) key.fill(0)
    keyring.close()
    if (!same) throw invalid('token: the primary has other keys; disable replication and enable it anew')
  }

  return {
    enablePrimary: (kind, primaryClusterAddr) =>
      change(kind, async () => {
        if (role('dr').mode === 'secondary') throw invalid('a DR secondary cannot be made a primary: promote it')
        if (role(kind).mode !== 'disabled') throw enabledAlready(kind)
        return store(kind, await newPrimary(randomUUID(), primaryClusterAddr))
      }),

    demotePrimary: (kind) =>
      change(kind, async () => {
        const { clusterId } = primary(kind).record
        const next: SecondaryRecord = {
          mode: 'secondary',
          clusterId,
          secondaryId: '',
          primaryClusterAddrs: [],
          credentials: null,
          enabledAt: clock.now(),
        }
        // The epoch it led in: a primary of an earlier one is stale.
        return store(kind, next, undefined, ({ logged }) => {
          const { epoch } = logged.log.head()
          const position = encodePosition({ clusterId, epoch, view: '', cursor: null })
          return logged.put(roleKeys.cursor(kind), position)
        })
      }),

    disablePrimary: (kind) =>
      change(kind, async () => {
        primary(kind)
        return store(kind, { mode: 'disabled' }, (_transaction, records) => records.clear(kind))
      }),

    enableSecondary: (kind, input) =>
      change(kind, async () => {
        if (role('dr').mode === 'secondary') throw invalid('this cluster is a DR secondary already')
        if (role(kind).mode !== 'disabled') throw enabledAlready(kind)
        if (kind === 'dr' && role('performance').mode !== 'disabled') {
          throw invalid("disable performance replication first: a DR secondary takes over its primary's role")
        }
        if (kind === 'performance' && role('dr').mode !== 'disabled') {
          throw invalid('disable DR replication first: its secondaries hold what this cluster is about to give up')
        }
        const activation = await redeemToken(kind, input, clock.now())
        const reply = await fetchBootstrap(activation)
        const record = secondaryRecord(activation)
        return async () => {
          await lifeCycle.adopt(reply, async (next, previous) => {
            await copyClusterIdentity(previous, next)
            await roleRecords(next).saveRole(kind, record)
          })
          log.info('the replication role has changed', { kind, mode: 'secondary' })
        }
      }),

    promoteSecondary: (kind, { primaryClusterAddr, force }) =>
      change(kind, async () => {
        const { record } = secondary(kind)
        if (!force) assertShown(kind)
        const next = await newPrimary(record.clusterId, primaryClusterAddr)
        const also: Also = async (transaction, records) => {
          await records.clear(kind)
          await forgetUpstream(transaction, kind)
        }
        return store(kind, next, also, async ({ logged }) => {
          const epoch = Math.max(logged.log.head().epoch, await followedEpoch(logged, kind)) + 1
          await logged.log.startEpoch(epoch)
        })
      }),

    disableSecondary: (kind) =>
      change(kind, async () => {
        secondary(kind)
        return store(kind, { mode: 'disabled' }, async (transaction, records) => {
          await forgetUpstream(transaction, kind)
          if (kind === 'performance') return
          // What it holds of the primary's performance role would make a second primary, or a second secondary of one name.
          await records.clear('performance')
          await forgetUpstream(transaction, 'performance')
          await records.saveRole('performance', { mode: 'disabled' })
        })
      }),

    updatePrimary: (kind, input) =>
      change(kind, async () => {
        const { record } = secondary(kind)
        const forget: Also = (transaction) => transaction.delete(roleKeys.addresses(kind))
        const { updatePrimaryAddrs: addresses } = input
        if (addresses !== undefined) {
          if (record.credentials === null) {
            throw invalid('update_primary_addrs: this cluster was demoted and has no credentials; use a token')
          }
          const answering = await answeringAddress(kind, record.clusterId, addresses, record.credentials)
          const primaryClusterAddrs = [answering, ...addresses.filter((address) => address !== answering)]
          return store(kind, { ...record, primaryClusterAddrs }, forget)
        }
        if (input.token === '') return store(kind, { ...record, primaryClusterAddrs: [] }, forget)
        const activation = await redeemToken(kind, input, clock.now())
        if (activation.package.clusterId !== record.clusterId) {
          throw invalid('token: it belongs to another replication set; disable replication and enable it anew')
        }
        assertSameRootKey(await fetchBootstrap(activation))
        return store(kind, secondaryRecord(activation), forget)
      }),

    end() {
      ended = true
    },
  }

  async function followedEpoch(logged: ClusterStore['logged'], kind: ReplicationKind): Promise<number> {
    const stored = await logged.get(roleKeys.cursor(kind))
    return stored === undefined ? 0 : decodePosition(stored).epoch
  }
}

async function forgetUpstream(transaction: Transaction, kind: ReplicationKind): Promise<void> {
  await transaction.delete(roleKeys.cursor(kind))
  await transaction.delete(roleKeys.addresses(kind))
  if (kind === 'dr') await transaction.delete(roleKeys.operationToken)
}

function enabledAlready(kind: ReplicationKind): CoreError {
  return invalid(`${kind} replication is already enabled on this cluster`)
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
