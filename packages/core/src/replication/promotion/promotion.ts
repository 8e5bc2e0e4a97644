/** Whether a secondary can be shown to hold all of its primary's writes, and what speaks against it. */
import type { Position } from '@lockstep/replication'
import { demotedAt, isDetached, type ReplicationKind, type SecondaryRecord } from '../role-records.ts'
import { rfc3339 } from '../status.ts'
import { cursorRecord } from './cursor-record.ts'
import { type HandoverRecord, type HandoverResult, holdsAll } from './handover.ts'
import type { Heard } from './heard.ts'
import type { PromotedBy, PromotionReceipt } from './receipts.ts'

export interface PromotionFacts {
  kind: ReplicationKind
  record: SecondaryRecord
  /** Epoch of this cluster's own log. */
  ownEpoch: number
  /** As stored. */
  position: Position | undefined
  /** Since this process follows the primary; undefined = nothing. */
  heard: Heard | undefined
  lagMs: number
  /** Why there is no link, "" when there is one. */
  lastError: string
  /** What the primary said when it was demoted. */
  handover: HandoverRecord | undefined
  /** Whom this cluster itself handed over to when it was demoted. */
  handedTo: readonly HandoverResult[]
  now: number
}

export interface PromotionJudgement {
  epoch: number
  nextEpoch: number
  handedOver: boolean
  safe: boolean
  reasons: string[]
  /** Place in the old primary's log. */
  from: PromotionReceipt['from']
  lastAppliedIndex: number | null
  lastHeardIndex: number | null
  missingRecords: number | null
  lagSeconds: number | null
  lastHeartbeat: number
}

export function judgePromotion(facts: PromotionFacts): PromotionJudgement {
  const { record, position, heard, handover, now } = facts
  const epoch = Math.max(facts.ownEpoch, position?.epoch ?? 0)
  const demoted = demotedAt(record)
  const cursor = position?.cursor ?? null
  const from = demoted ?? (cursor && cursorRecord(cursor))
  const handedOver = holdsAll(position, handover)
  const lastHeardIndex = heard?.index ?? null
  const missingRecords = from === null || heard === undefined ? null : Math.max(0, heard.index - from.index)
  const reasons = demoted === undefined ? againstFollower() : againstDemoted()
  return {
    ...{ epoch, nextEpoch: epoch + 1, handedOver, from, lastHeardIndex, missingRecords, reasons },
    safe: reasons.length === 0,
    lastAppliedIndex: from?.index ?? null,
    lagSeconds: heard === undefined ? null : Math.max(facts.lagMs, now - heard.at, 0) / 1000,
    lastHeartbeat: heard?.at ?? 0,
  }

  function againstFollower(): string[] {
    if (handedOver) return []
    const against: string[] = []
    const link = facts.lastError === '' ? '' : ` (${facts.lastError})`
    if (from === null) against.push('its sync with the primary is not complete')
    if (isDetached(record)) {
      against.push('it has no primary to follow')
    } else if (heard === undefined) {
      against.push(`nothing was heard of the primary since this process began to follow it${link}`)
    } else if (missingRecords !== null && missingRecords > 0) {
      against.push(`it has not got ${missingRecords} records that it knows of${link}`)
    }
    return against
  }

  /** A primary that was demoted and has followed nobody since has all that it acknowledged; but another may lead by now. */
  function againstDemoted(): string[] {
    const others = facts.handedTo.filter(({ complete }) => complete).map(({ id }) => id)
    return others.length === 0 ? [] : [`this cluster handed over to ${others.join(', ')}, which may have been promoted`]
  }
}

/** `data` of a dry run. */
export function shownJudgement(judgement: PromotionJudgement): Record<string, unknown> {
  return {
    mode: 'secondary',
    epoch: judgement.epoch,
    next_epoch: judgement.nextEpoch,
    last_applied_index: judgement.lastAppliedIndex,
    last_heard_index: judgement.lastHeardIndex,
    missing_records: judgement.missingRecords,
    lag_seconds: judgement.lagSeconds,
    last_heartbeat: rfc3339(judgement.lastHeartbeat),
    handed_over: judgement.handedOver,
    safe: judgement.safe,
    reasons: judgement.reasons,
  }
}

export function receiptOf(
  facts: PromotionFacts,
  judgement: PromotionJudgement,
  given: { by: PromotedBy; forced: boolean },
): PromotionReceipt {
  return {
    kind: facts.kind,
    epoch: judgement.nextEpoch,
    clusterId: facts.record.clusterId,
    at: facts.now,
    by: given.by,
    from: judgement.from,
    lastHeardIndex: judgement.lastHeardIndex,
    lastHeartbeat: judgement.lastHeartbeat,
    handedOver: judgement.handedOver,
    forced: given.forced,
    reasons: judgement.reasons,
    inherited: false,
  }
}
