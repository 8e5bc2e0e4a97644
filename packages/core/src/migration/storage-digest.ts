/** All that a migration copies, as digests that two storages can be compared by. */
import { createHash } from 'node:crypto'
import { keyIdOf, leafDigestOf, type MerkleForest, merkleForest, type PartitionId } from '@lockstep/replication'
import { copiedLeaf, rowCopy } from '@lockstep/replication-driver'
import type { Entry } from '@lockstep/storage'
import { CoreError } from '../contracts.ts'
import { encodeState } from '../snapshots/state-codec.ts'

export interface StorageDigest {
  /** SHA-256 over every name and value, hex. */
  rows: string
  count: number
  /** Of the Merkle index. */
  forest: MerkleForest
}

export interface DigestOptions {
  /** `g<n>/`. */
  generation: string
  /**
   * The Merkle index that the data has to agree with: every leaf has its entry, with that digest. Default: it is not compared. Rejects
   * with CORE_INTERNAL when it does not agree.
   */
  expected?: MerkleForest | undefined
  onRows?(count: number): void
}

export async function storageDigest(
  entries: AsyncIterable<Entry>,
  { generation, expected, onRows }: DigestOptions,
): Promise<StorageDigest> {
  const forest = merkleForest()
  const hash = createHash('sha256')
  let count = 0
  let found = 0
  let partition: PartitionId | undefined

  /** Neighbours are in one partition as a rule. */
  function leafOf(keyId: Uint8Array): Uint8Array | undefined {
    const near = partition === undefined ? undefined : expected!.get(partition, keyId)
    if (near !== undefined) return near
    for (const id of expected!.partitions()) {
      const digest = expected!.get(id, keyId)
      if (digest === undefined) continue
      partition = id
      return digest
    }
    return undefined
  }

  function compare(key: string, value: Uint8Array): void {
    const digest = leafOf(keyIdOf(key))
    if (digest === undefined) return
    if (Buffer.compare(digest, leafDigestOf(key, value)) !== 0) throw differs(`the entry ${key}`)
    found++
  }

  async function* seen(): AsyncGenerator<Entry> {
    for await (const entry of entries) {
      const [name, value] = entry
      count++
      if (name.startsWith(generation)) {
        const row = name.slice(generation.length)
        const leaf = copiedLeaf(row, value)
        if (leaf !== undefined) forest.set(leaf.partition, leaf.keyId, leaf.digest)
        else if (expected !== undefined && row.startsWith(rowCopy.data)) compare(row.slice(rowCopy.data.length), value)
      }
      if (count % 10_000 === 0) onRows?.(10_000)
      yield entry
    }
    onRows?.(count % 10_000)
  }

  for await (const chunk of encodeState(seen())) hash.update(chunk)
  if (expected !== undefined && found !== leaves(expected))
    throw differs(`${leaves(expected) - found} entries are missing of those`)
  return { rows: hash.digest('hex'), count, forest }
}

export function leaves(forest: MerkleForest): number {
  return forest.partitions().reduce((sum, partition) => sum + forest.count(partition), 0)
}

function differs(what: string): CoreError {
  return new CoreError('CORE_INTERNAL', `${what} in the Merkle index of the storage: it is damaged`)
}
