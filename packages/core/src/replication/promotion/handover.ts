/**
 * The end of a planned handover. A primary that was demoted tells its secondaries which record of its log was the last; a secondary that has
 * it and has been told so can be promoted without losing anything, also after it was restarted.
 */
import type { Cursor, Plain, Position } from '@lockstep/replication'
import { sameDigest } from '@lockstep/replication'
import { CoreError } from '../../contracts.ts'
import { type CursorRecord, cursorOf } from './cursor-record.ts'

export const HANDOVER = 'handover'

/** How long a demotion waits for its secondaries, ms. */
export const HANDOVER_WAIT_MS = 10_000
/** What an answer may take beyond the wait that was asked for, ms. */
export const HANDOVER_ANSWER_MS = 2_000
const LONGEST_WAIT_MS = 60_000
const DIGEST_BYTES = 32

/** What a secondary was told, as it keeps it. */
export interface HandoverRecord extends CursorRecord {
  /** ms since the epoch. */
  at: number
}

/** How far one secondary came in a handover, as the demoted primary keeps it. */
export interface HandoverResult {
  id: string
  /** It holds the last record and knows that it was the last. */
  complete: boolean
  /** Newest record it is known to hold, 0 when unknown. */
  index: number
}

export interface HandoverRequest {
  last: Cursor
  /** How long the secondary may take to apply what is missing. */
  waitMs: number
}

export function encodeHandover({ last, waitMs }: HandoverRequest): Plain {
  return { epoch: last.epoch, index: last.index, digest: last.digest, waitMs }
}

/** Rejects with CORE_INVALID_REQUEST naming the field. */
export function parseHandover(body: unknown): HandoverRequest {
  const { epoch, index, digest, waitMs } = (body ?? {}) as Record<string, unknown>
  if (!isCount(epoch)) throw bad('epoch', 'a whole number')
  if (!isCount(index)) throw bad('index', 'a whole number')
  if (!(digest instanceof Uint8Array) || digest.length !== DIGEST_BYTES) throw bad('digest', '32 bytes')
  if (!isCount(waitMs) || waitMs > LONGEST_WAIT_MS) throw bad('waitMs', `at most ${LONGEST_WAIT_MS}`)
  return { last: { epoch, index, digest }, waitMs }
}

export function encodeHandoverAnswer(answer: { complete: boolean; index: number }): Plain {
  return { complete: answer.complete, index: answer.index }
}

/** What the peer says of itself; anything malformed counts as not complete. */
export function parseHandoverAnswer(body: unknown): { complete: boolean; index: number } {
  const { complete, index } = (body ?? {}) as Record<string, unknown>
  return { complete: complete === true, index: isCount(index) ? index : 0 }
}

/** Whether what is stored matches the primary's log at least up to its last record. */
export function holdsAll(position: Position | undefined, handover: CursorRecord | undefined): boolean {
  const cursor = position?.cursor
  if (!cursor || handover === undefined) return false
  const last = cursorOf(handover)
  // Another leads by now, or the same one again: what it writes is not what was handed over, however little of it came so far.
  if (position.epoch > last.epoch) return false
  if (cursor.epoch !== last.epoch || cursor.index < last.index) return false
  // Later records can only be of classes that are not replicated to this secondary.
  return cursor.index > last.index || sameDigest(cursor.digest, last.digest)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function bad(field: string, expected: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', `handover: ${field}: expected ${expected}`)
}
