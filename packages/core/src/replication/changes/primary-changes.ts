/** Becoming a primary anew, and ceasing to be one. */
import { randomUUID } from 'node:crypto'
import { encodePosition } from '@lockstep/replication'
import { transact } from '@lockstep/storage'
import type { Clock, Log } from '../../contracts.ts'
import type { LifeCycle } from '../../seal-life-cycle/life-cycle-contract.ts'
import type { Unsealed } from '../../seal-life-cycle/services.ts'
import type { ReplicationManager } from '../manager.ts'
import type { PrimaryRole } from '../primary-role.ts'
import { cursorRecord } from '../promotion/cursor-record.ts'
import { HANDOVER_WAIT_MS } from '../promotion/handover.ts'
import { promotionReceipts } from '../promotion/receipts.ts'
import { type ReplicationKind, type RoleRecord, roleKeys, roleRecords, type SecondaryRecord } from '../role-records.ts'
import { type Also, type ChangeRunner, enabledAlready, invalid } from './change-runner.ts'
import { forgetRole } from './forget-role.ts'
import { newPrimary } from './new-primary.ts'

export interface PrimaryChangesComponents {
  changes: ChangeRunner
  lifeCycle: Pick<LifeCycle, 'transition'>
  clock: Clock
  log: Log
  /** The role in force. */
  role(kind: ReplicationKind): RoleRecord
  /** Throws CORE_INVALID_REQUEST when the cluster is none. */
  primary(kind: ReplicationKind): Pick<PrimaryRole, 'record' | 'handOver'>
}

export type PrimaryChanges = Pick<ReplicationManager, 'enablePrimary' | 'demotePrimary' | 'disablePrimary'>

export function primaryChanges(components: PrimaryChangesComponents): PrimaryChanges {
  const { changes, lifeCycle, clock, log, role, primary } = components
  return {
    enablePrimary: (kind, primaryClusterAddr) =>
      changes.run(kind, async () => {
        if (role('dr').mode === 'secondary') throw invalid('a DR secondary cannot be made a primary: promote it')
        if (role(kind).mode !== 'disabled') throw enabledAlready(kind)
        return changes.store(kind, await newPrimary(randomUUID(), primaryClusterAddr, clock.now()))
      }),

    demotePrimary: (kind) =>
      changes.run(kind, async () => {
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
      changes.run(kind, async () => {
        primary(kind)
        const also: Also = async (transaction, records) => {
          await records.clear(kind)
          await forgetRole(transaction, kind)
          await promotionReceipts(transaction).clear(kind)
        }
        return changes.store(kind, { mode: 'disabled' }, { also })
      }),
  }
}

/** The epoch it led in: a primary of an earlier one is stale. */
function demotedPosition(clusterId: string, epoch: number): Uint8Array {
  return encodePosition({ clusterId, epoch, view: '', cursor: null })
}
