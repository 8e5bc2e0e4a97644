/**
 * What several secondaries get alike is made once: entries, digest, and the message itself, which a transport then encodes once. Kept
 * only as long as somebody holds the records.
 */
import type { EntryGroup, Wal } from '../messages.ts'
import { partitionId, type WalRecord } from '../types.ts'
import { batchDigest, type SignedBatch } from '../wal/batch-digest.ts'
import { entryBatch } from '../wal/coalesce.ts'
import { sameCursor } from '../wal/cursor.ts'
import type { Shipping } from './shipping.ts'

export interface ShippedBatch {
  readonly groups: EntryGroup[]
  readonly bytes: number
}

/** Of records of which nothing is withheld, by the array they were read as. */
const complete = new WeakMap<readonly WalRecord[], ShippedBatch>()
/** The newest message with these entries. */
const messages = new WeakMap<EntryGroup[], Wal>()

const everything: Pick<Shipping, 'shipsOperation'> = { shipsOperation: () => true }

/** Every operation is asked about for every secondary; only what came out as "all of it" is shared. */
export function shippedBatch(records: readonly WalRecord[], shipping: Pick<Shipping, 'shipsOperation'>): ShippedBatch {
  for (const { operations } of records) {
    for (const operation of operations) if (!shipping.shipsOperation(operation)) return entriesOf(records, shipping)
  }
  let batch = complete.get(records)
  if (batch === undefined) {
    batch = entriesOf(records, everything)
    complete.set(records, batch)
  }
  return batch
}

/** The message of the batch: one object for all that get the same. */
export function walMessage(round: number, batch: SignedBatch, verifying: boolean): Wal {
  const earlier = messages.get(batch.groups)
  if (earlier && isMessageOf(earlier, round, batch, verifying)) return earlier
  const proof = verifying ? { digest: batchDigest(batch) } : { after: null, digest: null }
  const message: Wal = { type: 'wal', round, ...batch, ...proof }
  messages.set(batch.groups, message)
  return message
}

function isMessageOf(message: Wal, round: number, batch: SignedBatch, verifying: boolean): boolean {
  if (message.round !== round || message.head !== batch.head || message.guard !== null || batch.guard !== null)
    return false
  if (!sameCursor(message.cursor, batch.cursor)) return false
  return verifying ? message.after !== null && sameCursor(message.after, batch.after) : message.after === null
}

function entriesOf(records: readonly WalRecord[], shipping: Pick<Shipping, 'shipsOperation'>): ShippedBatch {
  const batch = entryBatch()
  for (const { operations } of records) {
    for (const operation of operations) {
      if (!shipping.shipsOperation(operation)) continue
      const { partition, mountPath, key, value } = operation
      batch.add({ partition: partitionId(partition), mountPath, key, value: value ?? null })
    }
  }
  return { groups: batch.groups(), bytes: batch.bytes }
}
