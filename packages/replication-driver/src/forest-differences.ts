/** Where two forests differ, found without holding up the event loop. */
import type { ForestReader, PartitionId } from '@lockstep/replication'
import { ENTRY_BYTES, KEY_ID_BYTES } from '@lockstep/replication'

export interface ForestDifference {
  partition: PartitionId
  keyId: Uint8Array
}

/** Entries compared, or hashed, in one turn at most, about. */
const TURN_ENTRIES = 4096
const DIGITS = [...'0123456789abcdef']

/** Computes what hashes are due, in parts, so that asking for a root afterwards is cheap. */
export async function hashInParts(forest: ForestReader, nextTurn: () => Promise<void>): Promise<void> {
  const visit = async (partition: PartitionId, path: string): Promise<void> => {
    if (forest.count(partition, path) > TURN_ENTRIES) {
      for (const digit of DIGITS) await visit(partition, path + digit)
    } else {
      forest.hashAt(partition, path)
      await nextTurn()
    }
  }
  for (const partition of forest.partitions()) await visit(partition, '')
}

/**
 * Leaves of one and not of the other, or with another digest. Both may change meanwhile, as long as they change alike: a leaf that
 * changes in both is found or not, one that does not change and differs is found.
 */
export async function* forestDifferences(
  a: ForestReader,
  b: ForestReader,
  nextTurn: () => Promise<void>,
): AsyncGenerator<ForestDifference> {
  const partitions = new Set([...a.partitions(), ...b.partitions()])
  for (const partition of [...partitions].sort()) {
    const paths = ['']
    for (let path = paths.pop(); path !== undefined; path = paths.pop()) {
      if (Buffer.compare(a.hashAt(partition, path), b.hashAt(partition, path)) === 0) continue
      if (a.count(partition, path) + b.count(partition, path) > TURN_ENTRIES) {
        for (const digit of DIGITS) paths.push(path + digit)
        continue
      }
      for (const keyId of differing(a.entriesUnder(partition, path), b.entriesUnder(partition, path))) {
        yield { partition, keyId }
      }
      await nextTurn()
    }
  }
}

/** Key ids of two packed, sorted lists of entries that are not in both alike. */
function* differing(a: Uint8Array, b: Uint8Array): Generator<Uint8Array> {
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    const left = a.subarray(i, i + KEY_ID_BYTES)
    const right = b.subarray(j, j + KEY_ID_BYTES)
    const order = i >= a.length ? 1 : j >= b.length ? -1 : Buffer.compare(left, right)
    const same = order === 0 && Buffer.compare(a.subarray(i, i + ENTRY_BYTES), b.subarray(j, j + ENTRY_BYTES)) === 0
    if (!same) yield order <= 0 ? left : right
    if (order <= 0) i += ENTRY_BYTES
    if (order >= 0) j += ENTRY_BYTES
  }
}
