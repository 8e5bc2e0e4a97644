/** Becoming a secondary, changing the primary, and ceasing to follow. */
import { writeJson } from '@lockstep/backend'
import type { Keyring } from '@lockstep/barrier'
import { decodePosition, encodePosition } from '@lockstep/replication'
import { copyClusterIdentity } from '../../cluster-identity.ts'
import type { Clock, Log } from '../../contracts.ts'
import type { ClusterStore } from '../../seal-life-cycle/cluster-store.ts'
import type { LifeCycle } from '../../seal-life-cycle/life-cycle-contract.ts'
import type { Unsealed } from '../../seal-life-cycle/services.ts'
import { type Activation, clusterAddresses, fetchBootstrap, redeemToken } from '../activation/activate.ts'
import { activationKeyPath, activationKeys } from '../activation/activation-keys.ts'
import type { BootstrapReply } from '../activation/bootstrap-reply.ts'
import type { ReplicationManager } from '../manager.ts'
import { answeringAddress } from '../primary-address.ts'
import { promotionReceipts, sameReign } from '../promotion/receipts.ts'
import { type ReplicationKind, type RoleRecord, roleKeys, roleRecords, type SecondaryRecord } from '../role-records.ts'
import type { SecondaryRole } from '../secondary-role.ts'
import { keepUnreplicated } from '../unreplicated/keep-unreplicated.ts'
import { shownSet, type Unreplicated, type UnreplicatedSet } from '../unreplicated/unreplicated.ts'
import { keyringOf, opensAll } from './adopt-keyring.ts'
import { type Also, type ChangeRunner, enabledAlready, invalid } from './change-runner.ts'
import { forgetUpstream } from './forget-role.ts'

export interface SecondaryChangesComponents {
  changes: ChangeRunner
  unsealed: Unsealed
  lifeCycle: Pick<LifeCycle, 'adopt'>
  clock: Clock
  log: Log
  /** The role in force. */
  role(kind: ReplicationKind): RoleRecord
  /** Throws CORE_INVALID_REQUEST when the cluster is none. */
  secondary(kind: ReplicationKind): Pick<SecondaryRole, 'record'>
  unreplicated: Pick<Unreplicated, 'capture' | 'begin' | 'list' | 'saveHeader'>
}

export type SecondaryChanges = Pick<ReplicationManager, 'enableSecondary' | 'disableSecondary' | 'updatePrimary'>

export function secondaryChanges(components: SecondaryChangesComponents): SecondaryChanges {
  const { changes, unsealed, lifeCycle, clock, log, role, secondary, unreplicated } = components

  function secondaryRecord({ package: activation, primaryApiAddr, credentials }: Activation): SecondaryRecord {
    return {
      mode: 'secondary',
      clusterId: activation.clusterId,
      secondaryId: activation.id,
      primaryClusterAddrs: clusterAddresses(activation),
      primaryApiAddr,
      credentials,
      enabledAt: clock.now(),
    }
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
    enableSecondary: (kind, input) =>
      changes.run(kind, async () => {
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

    disableSecondary: (kind) =>
      changes.run(kind, async () => {
        secondary(kind)
        const also: Also = async (transaction, records) => {
          await forgetUpstream(transaction, kind)
          await promotionReceipts(transaction).clear(kind)
          if (kind === 'performance') return
          // What it holds of the primary's performance role would make a second primary, or a second secondary of one name.
          await records.clear('performance')
          await forgetUpstream(transaction, 'performance')
          await records.saveRole('performance', { mode: 'disabled' })
        }
        return changes.store(kind, { mode: 'disabled' }, { also })
      }),

    updatePrimary: (kind, input) =>
      changes.run(kind, async () => {
        const { record } = secondary(kind)
        const forget: Also = (transaction) => transaction.delete(roleKeys.addresses(kind))
        /** An operator decides whom it follows, also between two that began one epoch. */
        const anyLeader = async ({ logged }: ClusterStore): Promise<void> => {
          const stored = await logged.get(roleKeys.cursor(kind))
          if (stored === undefined) return
          const { leader, ...position } = decodePosition(stored)
          if (leader !== undefined) await logged.put(roleKeys.cursor(kind), encodePosition(position))
        }
        const { updatePrimaryAddrs: addresses } = input
        if (addresses !== undefined) {
          if (record.credentials === null) {
            throw invalid('update_primary_addrs: this cluster was demoted and has no credentials; use a token')
          }
          const answering = await answeringAddress(kind, record.clusterId, addresses, record.credentials)
          const primaryClusterAddrs = [answering, ...addresses.filter((address) => address !== answering)]
          return changes.store(kind, { ...record, primaryClusterAddrs }, { also: forget, first: anyLeader })
        }
        if (input.token === '') return changes.store(kind, { ...record, primaryClusterAddrs: [] }, { also: forget })
        const activation = await redeemToken(kind, input, clock.now(), activationKeys(unsealed.barrier))
        if (activation.package.clusterId !== record.clusterId) {
          throw invalid('token: it belongs to another replication set; disable replication and enable it anew')
        }
        const reply = await fetchBootstrap(activation)
        const keyring = checkedKeyring(kind, reply)
        const { promotions } = reply
        const known = await promotionReceipts(unsealed.barrier).all(kind)
        // To say that it led an epoch which another began, too, would end what waits for that one.
        const led = record.led && sameReign(known, promotions, record.led.epoch) ? record.led : undefined
        const next = { ...secondaryRecord(activation), ...(led === undefined ? {} : { led }) }
        let lost: UnreplicatedSet | undefined
        const also: Also = async (transaction, records) => {
          await forget(transaction, records)
          // The last record of a primary that is followed no longer.
          await transaction.delete(roleKeys.handover(kind))
          await transaction.delete(activationKeyPath(kind))
          await promotionReceipts(transaction).save(kind, promotions)
          if (lost !== undefined) await unreplicated.saveHeader(transaction, lost)
        }
        const first = async (store: ClusterStore): Promise<void> => {
          const { logged } = store
          lost = await keepUnreplicated({ unreplicated, logged, clock, log }, kind, record, { known, promotions })
          if (lost !== undefined) log.warn('writes that were never replicated are kept', { kind, ...shownSet(lost) })
          await anyLeader(store)
        }
        const carryOut = changes.store(kind, next, { also, first, keyring })
        return () => carryOut().finally(() => keyring.close())
      }),
  }
}
