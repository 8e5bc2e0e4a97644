/** A secondary becomes the primary, with a receipt of what it had. */
import { decodePosition } from '@lockstep/replication'
import { type Clock, CoreError } from '../../contracts.ts'
import { saveLeaseHold } from '../../leases/lease-hold.ts'
import type { ClusterStore } from '../../seal-life-cycle/cluster-store.ts'
import type { Unsealed } from '../../seal-life-cycle/services.ts'
import type { ReplicationManager } from '../manager.ts'
import {
  judgePromotion,
  type PromotionFacts,
  type PromotionJudgement,
  receiptOf,
  shownJudgement,
} from '../promotion/promotion.ts'
import { type PromotionReceipt, promotionReceipts } from '../promotion/receipts.ts'
import { type ReplicationKind, roleKeys } from '../role-records.ts'
import type { SecondaryRole } from '../secondary-role.ts'
import type { Also, ChangeRunner } from './change-runner.ts'
import { forgetUpstream } from './forget-role.ts'
import { newPrimary } from './new-primary.ts'

export interface PromotionChangeComponents {
  changes: ChangeRunner
  unsealed: Unsealed
  clock: Clock
  /** Throws CORE_INVALID_REQUEST when the cluster is none. */
  secondary(kind: ReplicationKind): Pick<SecondaryRole, 'record' | 'upstream'>
}

export type PromotionChange = Pick<ReplicationManager, 'previewPromotion' | 'promoteSecondary'>

export function promotionChange({ changes, unsealed, clock, secondary }: PromotionChangeComponents): PromotionChange {
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

  return {
    previewPromotion: async (kind) => shownJudgement(await judge(kind)),

    promoteSecondary: (kind, { primaryClusterAddr, force, by }) =>
      changes.run(kind, async () => {
        const { record } = secondary(kind)
        if (!force) await assertShown(kind)
        const next = await newPrimary(record.clusterId, primaryClusterAddr, clock.now())
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
        const first = async ({ logged }: ClusterStore): Promise<void> => {
          // Nothing is applied any more: this is what the new primary has.
          const facts = await promotionFacts(kind, logged)
          const judgement = judgePromotion(facts)
          receipt = receiptOf(facts, judgement, { by, forced: force })
          supersedes = facts.position?.epoch ?? 0
          if (receipt.epoch > logged.log.head().epoch) await logged.log.startEpoch(receipt.epoch)
        }
        return changes.store(kind, next, { also, first })
      }),
  }
}
