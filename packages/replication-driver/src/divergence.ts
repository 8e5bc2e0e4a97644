/**
 * What a returning old primary had acknowledged and the cluster that was promoted in its place never got: the records of its own
 * log after the place up to which the other says it had applied it.
 */
import { type Cursor, encodeRecord, nextDigest, sameDigest, type WalRecord } from '@lockstep/replication'
import { corrupt } from './layout.ts'
import type { Log } from './logged-store.ts'

export interface RecordsAfter {
  /** The cursor asked about. */
  readonly after: Cursor
  /** This log's head when it was asked: the last record that is iterated. */
  readonly head: Cursor
  /** Records in between; 0 when nothing is missing elsewhere. */
  readonly count: number
  /**
   * The records in order, each with its operations as they were logged: partition, mount path, key, and the ciphertext or
   * `undefined` for a deletion. May be iterated more than once. Rejects with `REPLICATION_LOG_TRIMMED` when the log gives up
   * a record meanwhile (`retain` it first), `REPLICATION_CORRUPT` when the records do not lead to `head`'s digest.
   */
  records(): AsyncIterable<WalRecord>
}

/** Of one read; the records of a read are in memory together. */
const READ_BYTES = 1024 * 1024

/**
 * `trimmed`: the cursor is older than what the log still reaches back to. `unknown`: the cursor is not a place in this log (another
 * history, or a place this log never came to), so nothing can be said. Neither means that nothing was lost.
 */
export async function recordsAfter(
  log: Pick<Log, 'head' | 'oldest' | 'digestAt' | 'read'>,
  cursor: Cursor,
): Promise<RecordsAfter | 'trimmed' | 'unknown'> {
  const head = log.head()
  if (cursor.index > head.index || cursor.epoch > head.epoch) return 'unknown'
  if (cursor.index < log.oldest() - 1) return 'trimmed'
  const digest = await log.digestAt(cursor.index)
  // It was there a moment ago.
  if (digest === undefined) return 'trimmed'
  if (!sameDigest(digest, cursor.digest)) return 'unknown'
  return {
    after: cursor,
    head,
    count: head.index - cursor.index,
    records: () => provenRecords(log, cursor, head),
  }
}

/** Each record is handed out as it is read; that they are the ones the head speaks of is known, and said, at the end. */
async function* provenRecords(log: Pick<Log, 'read'>, from: Cursor, head: Cursor): AsyncGenerator<WalRecord> {
  let { index, digest } = from
  while (index < head.index) {
    for (const record of await log.read(index, READ_BYTES)) {
      if (record.index > head.index) break
      if (record.index !== index + 1) throw corrupt(`the log after record ${index}`)
      index = record.index
      digest = nextDigest(digest, encodeRecord(record))
      yield record
    }
  }
  if (!sameDigest(digest, head.digest)) throw corrupt(`the log between records ${from.index} and ${head.index}`)
}
