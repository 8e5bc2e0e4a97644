/**
 * Every change of role. It is checked and answered at once, then carried out by the life cycle with the services stopped; one at a time,
 * so that what was checked still holds when it runs. What a change stores is one transaction: after a crash the cluster has the old
 * role or the new one, with all that belongs to it.
 */
import { randomUUID } from 'node:crypto'
import { writeJson } from '@lockstep/backend'
import type { Keyring } from '@lockstep/barrier'
import { createReplicationCa, issuePrimaryServer } from '@lockstep/bootstrap'
import { decodePosition, encodePosition } from '@lockstep/replication'
import { type Transaction, transact } from '@lockstep/storage'
import { copyClusterIdentity } from '../cluster-identity.ts'
import { type Clock, CoreError, type Log } from '../contracts.ts'
import { saveLeaseHold } from '../leases/lease-hold.ts'
import type { ClusterStore } from '../seal-life-cycle/cluster-store.ts'
import type { LifeCycle } from '../seal-life-cycle/life-cycle.ts'
import type { Unsealed } from '../seal-life-cycle/services.ts'
import { type Activation, fetchBootstrap, redeemToken } from './activate.ts'
import { activationKeyPath, activationKeys } from './activation-keys.ts'
import { keyringOf, opensAll, sealedAnew, throughBarrier } from './adopt-keyring.ts'
import type { BootstrapReply } from './bootstrap-reply.ts'
import { cursorRecord } from './cursor-record.ts'
import { HANDOVER_WAIT_MS } from './handover.ts'
import { keepUnreplicated } from './keep-unreplicated.ts'
import type { ReplicationManager } from './manager.ts'
import { answeringAddress } from './primary-address.ts'
import type { PrimaryRole } from './primary-role.ts'
import { judgePromotion, type PromotionFacts, type PromotionJudgement, receiptOf, shownJudgement } from './promotion.ts'
import { type PromotionReceipt, promotionReceipts } from './receipts.ts'
import {
  type PrimaryRecord,
  type ReplicationKind,
  type RoleRecord,
  roleKeys,
  roleRecords,
  type SecondaryRecord,
} from './role-records.ts'
import type { SecondaryRole } from './secondary-role.ts'
import { shownSet, type Unreplicated, type UnreplicatedSet } from './unreplicated.ts'

export interface RoleChangesComponents {
  unsealed: Unsealed
  lifeCycle: Pick<LifeCycle, 'transition' | 'adopt'>
  clock: Clock
  log: Log
  /** The role in force. */
  role(kind: ReplicationKind): RoleRecord
  /** Throws CORE_INVALID_REQUEST when the cluster is none. */
  primary(kind: ReplicationKind): Pick<PrimaryRole, 'record' | 'handOver'>
  secondary(kind: ReplicationKind): Pick<SecondaryRole, 'record' | 'upstream'>
  unreplicated: Pick<Unreplicated, 'capture' | 'begin' | 'saveHeader'>
}

export type RoleChanges = Pick<
  ReplicationManager,
  | 'enablePrimary'
  | 'demotePrimary'
  | 'disablePrimary'
  | 'enableSecondary'
  | 'previewPromotion'
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
  const { unsealed, lifeCycle, clock, log, role, primary, secondary, unreplicated } = components
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
    /** The primary's, taken over when this cluster's own is not known to it. */
    keyring?: Keyring,
  ): () => Promise<void> {
    return () =>
      lifeCycle.transition(async (cluster) => {
        // What the role forbids to write is lifted for the change itself.
        cluster.store.modes[kind] = 'disabled'
        await first(cluster.store)
        const own = cluster.keyring()
        const anew =
          keyring === undefined || opensAll(keyring, own)
            ? undefined
            : await sealedAnew(cluster.store.logged, cluster.store.classes, own, keyring)
        await transact(cluster.store.logged, async (raw) => {
          for (const [key, record] of anew ?? []) await raw.put(key, record)
          const transaction = await throughBarrier(raw, anew === undefined ? own : keyring!)
          const records = roleRecords(transaction)
          await also(transaction, records)
          await records.saveRole(kind, next)
        })
        if (anew !== undefined) await cluster.reloadKeyring()
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

  /** As far as it is known now; `logged` is the store as it is open. */
  async function promotionFacts(kind: ReplicationKind, logged: ClusterStore['logged']): Promise<PromotionFacts> {
    const { record, upstream } = secondary(kind)
    const stored = await logged.get(roleKeys.cursor(kind))
    return {
      ...{ kind, record, ...upstream(), now: clock.now() },
      ownEpoch: logged.log.head().epoch,
      position: stored && decodePosition(stored),
    }
  }

  const judge = async (kind: ReplicationKind): Promise<PromotionJudgement> =>
    judgePromotion(await promotionFacts(kind, unsealed.store.logged))

  async function assertShown(kind: ReplicationKind): Promise<void> {
    const { safe, reasons } = await judge(kind)
    if (safe) return
    throw new CoreError(
      'CORE_UNAVAILABLE',
      `this secondary cannot be shown to hold all of the primary's writes: ${reasons.join('; ')}; set force to promote it anyway`,
    )
  }

  /** Data is kept, so it must be readable under the primary's keys. The caller closes the keyring. */
  function checkedKeyring(kind: ReplicationKind, reply: BootstrapReply): Keyring {
    const keyring = keyringOf(reply)
    try {
      const rootKey = keyring.rootKey()
      const same = unsealed.keyring().hasRootKey(rootKey)
      rootKey.fill(0)
      if (!same) throw invalid('token: the primary has other keys; disable replication and enable it anew')
      if (kind === 'performance' && !opensAll(keyring, unsealed.keyring())) {
        throw invalid(
          'token: the keys were rotated here and nobody else got them, so local data would be unreadable; disable replication and enable it anew',
        )
      }
      return keyring
    } catch (error) {
      keyring.close()
      throw error
    }
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
        const { record, handOver } = primary(kind)
        /** While the links are still up, and with no request under way. */
        const handingOver = async ({ store, barrier }: Unsealed): Promise<void> => {
          const { logged, modes } = store
          // From now on nothing of the kind is written; what was committed before is, once this write is durable.
          modes[kind] = 'secondary'
          modes.keepLog = true
          await logged.put(roleKeys.cursor(kind), demotedPosition(record.clusterId, logged.log.head().epoch))
          const next: SecondaryRecord = {
            mode: 'secondary',
            clusterId: record.clusterId,
            secondaryId: '',
            primaryClusterAddrs: [],
            credentials: null,
            enabledAt: clock.now(),
            led: cursorRecord(logged.log.head()),
          }
          await transact(barrier, async (transaction) => {
            await forgetRole(transaction, kind)
            await roleRecords(transaction).saveRole(kind, next)
          })
          // Only a cluster that is no primary any more says that it wrote its last record.
          try {
            await roleRecords(barrier).saveDemotion(kind, await handOver(HANDOVER_WAIT_MS))
          } catch (error) {
            log.error('the handover to the secondaries failed', { kind, error: String(error) })
          }
        }
        return () =>
          lifeCycle.transition(
            async () => log.info('the replication role has changed', { kind, mode: 'secondary' }),
            handingOver,
          )
      }),

    disablePrimary: (kind) =>
      change(kind, async () => {
        primary(kind)
        return store(kind, { mode: 'disabled' }, async (transaction, records) => {
          await records.clear(kind)
          await forgetRole(transaction, kind)
          await promotionReceipts(transaction).clear(kind)
        })
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
        const activation = await redeemToken(kind, input, clock.now(), activationKeys(unsealed.barrier))
        const reply = await fetchBootstrap(activation)
        const record = secondaryRecord(activation)
        return async () => {
          await lifeCycle.adopt(reply, async (next, previous) => {
            await copyClusterIdentity(previous, next)
            await promotionReceipts(next).save(kind, reply.promotions)
            await writeJson(next, roleKeys.bootstrapping(kind), true)
            await roleRecords(next).saveRole(kind, record)
          })
          log.info('the replication role has changed', { kind, mode: 'secondary' })
        }
      }),

    previewPromotion: async (kind) => shownJudgement(await judge(kind)),

    promoteSecondary: (kind, { primaryClusterAddr, force, by }) =>
      change(kind, async () => {
        const { record } = secondary(kind)
        if (!force) await assertShown(kind)
        const next = await newPrimary(record.clusterId, primaryClusterAddr)
        let receipt: PromotionReceipt
        let supersedes = 0
        const also: Also = async (transaction, records) => {
          await records.clear(kind)
          await forgetUpstream(transaction, kind)
          await promotionReceipts(transaction).save(kind, [receipt])
          // A demoted cluster that leads again has lost no renewal of a lease.
          if (kind !== 'dr' || receipt.handedOver || record.credentials === null) return
          const reason = `promotion to epoch ${receipt.epoch} without a handover by the old primary`
          await saveLeaseHold(transaction, { since: receipt.at, reason, supersedes })
        }
        return store(kind, next, also, async ({ logged }) => {
          // Nothing is applied any more: this is what the new primary has.
          const facts = await promotionFacts(kind, logged)
          const judgement = judgePromotion(facts)
          receipt = receiptOf(facts, judgement, { by, forced: force })
          supersedes = facts.position?.epoch ?? 0
          if (receipt.epoch > logged.log.head().epoch) await logged.log.startEpoch(receipt.epoch)
        })
      }),

    disableSecondary: (kind) =>
      change(kind, async () => {
        secondary(kind)
        return store(kind, { mode: 'disabled' }, async (transaction, records) => {
          await forgetUpstream(transaction, kind)
          await promotionReceipts(transaction).clear(kind)
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
        const activation = await redeemToken(kind, input, clock.now(), activationKeys(unsealed.barrier))
        if (activation.package.clusterId !== record.clusterId) {
          throw invalid('token: it belongs to another replication set; disable replication and enable it anew')
        }
        const reply = await fetchBootstrap(activation)
        const keyring = checkedKeyring(kind, reply)
        const { led } = record
        const next = { ...secondaryRecord(activation), ...(led === undefined ? {} : { led }) }
        let lost: UnreplicatedSet | undefined
        const also: Also = async (transaction, records) => {
          await forget(transaction, records)
          await transaction.delete(activationKeyPath(kind))
          await promotionReceipts(transaction).save(kind, reply.promotions)
          if (lost !== undefined) await unreplicated.saveHeader(transaction, lost)
        }
        const keepLost = async ({ logged }: ClusterStore): Promise<void> => {
          lost = await keepUnreplicated({ unreplicated, logged, clock, log }, kind, record, reply.promotions)
          if (lost !== undefined) log.warn('writes that were never replicated are kept', { kind, ...shownSet(lost) })
        }
        const carryOut = store(kind, next, also, keepLost, keyring)
        return () => carryOut().finally(() => keyring.close())
      }),

    end() {
      ended = true
    },
  }
}

/** The epoch it led in: a primary of an earlier one is stale. */
function demotedPosition(clusterId: string, epoch: number): Uint8Array {
  return encodePosition({ clusterId, epoch, view: '', cursor: null })
}

/** What belonged to having been primary or secondary, and to neither any more. */
async function forgetRole(transaction: Transaction, kind: ReplicationKind): Promise<void> {
  await transaction.delete(roleKeys.fenced(kind))
  await transaction.delete(roleKeys.handover(kind))
  await transaction.delete(roleKeys.demotion(kind))
}

async function forgetUpstream(transaction: Transaction, kind: ReplicationKind): Promise<void> {
  await forgetRole(transaction, kind)
  await transaction.delete(roleKeys.cursor(kind))
  await transaction.delete(roleKeys.addresses(kind))
  await transaction.delete(roleKeys.bootstrapping(kind))
  await transaction.delete(kind === 'dr' ? roleKeys.operationToken : roleKeys.followedEpoch)
}

function enabledAlready(kind: ReplicationKind): CoreError {
  return invalid(`${kind} replication is already enabled on this cluster`)
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
