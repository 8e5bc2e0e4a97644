/**
 * Checks that batches of the log come complete, once, in order and unchanged. Transports promise as much; here it is proved, at the
 * batch where it fails, by what the batch says of itself.
 */
import type { Wal } from '../messages.ts'
import type { Cursor } from '../types.ts'
import { batchDigest } from '../wal/batch-digest.ts'
import { sameCursor, sameDigest } from '../wal/cursor.ts'

export interface StreamFault {
  /**
   * `content`: not what was sent. `gap`: records before it did not come. `repeated`: its records came already. `history`: it continues
   * another history than the one received.
   */
  reason: 'content' | 'gap' | 'repeated' | 'history'
  /** The fault lies in the records after `from`, up to `to`; for `content` as far as the batch can be believed. */
  from: number
  to: number
}

export interface StreamCheck {
  /** Cursor of the newest batch that was in order. */
  readonly received: Cursor
  /** Notes a batch that is in order; else tells what is wrong with it. */
  next(wal: Wal): StreamFault | undefined
}

/** `verifying`: whether batches carry what they continue and their digest, as they do from version 2 on. */
export function streamCheck(from: Cursor, verifying: boolean): StreamCheck {
  let received = from

  const faultOf = ({ after, digest, ...wal }: Wal): StreamFault | undefined => {
    const { index } = received
    const until = Math.max(index, wal.cursor.index)
    if (!after || !digest || !sameDigest(digest, batchDigest({ ...wal, after }))) {
      return { reason: 'content', from: index, to: until }
    }
    if (sameCursor(after, received)) return undefined
    if (after.index > index) return { reason: 'gap', from: index, to: after.index }
    if (after.index < index) return { reason: 'repeated', from: after.index, to: wal.cursor.index }
    return { reason: 'history', from: index, to: until }
  }

  return {
    get received() {
      return received
    },
    next(wal) {
      const fault = verifying ? faultOf(wal) : undefined
      if (fault === undefined) received = wal.cursor
      return fault
    },
  }
}

/** For the diff request, and so for people. */
export function describeFault({ reason, from, to }: StreamFault): string {
  switch (reason) {
    case 'content':
      return `a batch of the log was damaged on the way: records after index ${from} up to ${to} are in doubt`
    case 'gap':
      return `a batch of the log is missing: records after index ${from} up to ${to}`
    case 'repeated':
      return `a batch of the log came again: records after index ${from} up to ${to}`
    case 'history':
      return `a batch of the log continues another history at index ${from}: records up to ${to} are in doubt`
  }
}
