import { ReplicationError } from '../errors.ts'
import type { Cursor } from '../types.ts'
import { DIGEST_BYTES } from '../wal/cursor.ts'

/** What a secondary stores about its primary, atomically with the entries it describes. */
export interface Position {
  /** Id of the replication set; "" before the first welcome. */
  clusterId: string
  /** Highest primary epoch ever followed; 0 for none. A primary with a lower one is stale. */
  epoch: number
  /**
   * The cluster that led that epoch, as it said. Two that are promoted by force from one epoch begin the same number: only the one that was
   * followed first is a primary in it. Absent when it is not known, and for whoever may be followed.
   */
  leader?: string
  /** `View.id` the stored entries were made under; "" for none. */
  view: string
  /** Place in the primary's log that the stored entries match; null while they match none (new, or in the middle of a sync). */
  cursor: Cursor | null
}

export const NO_POSITION: Position = { clusterId: '', epoch: 0, view: '', cursor: null }

/** JSON, for storage on this side only. */
export function encodePosition(position: Position): Uint8Array {
  const { cursor, ...rest } = position
  const digest = cursor && Buffer.from(cursor.digest).toString('hex')
  return Buffer.from(JSON.stringify({ version: 1, ...rest, cursor: cursor && { ...cursor, digest } }))
}

/** Throws `REPLICATION_INVALID_RECORD` for anything `encodePosition` did not write. */
export function decodePosition(bytes: Uint8Array): Position {
  try {
    const { version, clusterId, epoch, leader, view, cursor } = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (version !== 1 || typeof clusterId !== 'string' || typeof view !== 'string') throw new Error('unknown layout')
    return {
      ...{ clusterId, epoch: wholeNumber(epoch), view, cursor: cursor === null ? null : decodeCursor(cursor) },
      ...(typeof leader === 'string' ? { leader } : {}),
    }
  } catch (cause) {
    throw new ReplicationError('REPLICATION_INVALID_RECORD', 'not a stored replication position', { cause })
  }
}

function decodeCursor(cursor: { epoch: unknown; index: unknown; digest: unknown }): Cursor {
  const digest = Buffer.from(String(cursor.digest), 'hex')
  if (digest.length !== DIGEST_BYTES) throw new Error('digest')
  return { epoch: wholeNumber(cursor.epoch), index: wholeNumber(cursor.index), digest }
}

function wholeNumber(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new Error('number')
  return value
}
