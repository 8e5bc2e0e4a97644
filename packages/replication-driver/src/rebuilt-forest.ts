/** A forest built anew from what is on the disk, in small steps while commits go on, and kept in step with them. */
import { type MerkleForest, merkleForest, type PartitionId } from '@lockstep/replication'
import type { Engine, Entry } from '@lockstep/storage'
import type { Leaf } from './commit-planner.ts'

export interface RebuiltForest {
  readonly forest: MerkleForest
  /** From now on it is left alone. */
  close(): void
}

export interface RebuildComponents {
  physical: Engine
  /** Called with the leaves of each durable commit, in the turn in which the live forest follows them. Returns how to stop. */
  onLeaves(listener: (leaves: readonly Leaf[]) => void): () => void
}

export interface RebuildSource {
  prefix: string
  /** The stored key under which a leaf would be found. */
  placeOf(leaf: Leaf): string
  /** The leaf of a stored entry; undefined when it has none. */
  leafOf(entry: Entry): { partition: PartitionId; keyId: Uint8Array; digest: Uint8Array } | undefined
}

/** Entries read and hashed in one turn: about a millisecond or two. */
export const STEP_ENTRIES = 256

/**
 * Each step reads a few entries from a snapshot of its own. Commits that fall into a step are taken in after it as far as they lie
 * behind it; the ones ahead the next steps will read. `step` is told how many entries were read, and may wait, or throw to stop.
 */
export async function rebuildForest(
  { physical, onLeaves }: RebuildComponents,
  source: RebuildSource,
  step: (entries: number) => Promise<void>,
): Promise<RebuiltForest> {
  const forest = merkleForest()
  let reached = source.prefix
  let ended = false
  let meanwhile: Leaf[] = []

  const take = ({ partition, keyId, digest }: Leaf) => {
    if (digest) forest.set(partition, keyId, digest)
    else forest.remove(partition, keyId)
  }
  const close = onLeaves((leaves) => {
    if (ended) for (const leaf of leaves) take(leaf)
    else meanwhile.push(...leaves)
  })

  try {
    while (!ended) {
      let entries = 0
      const range = {
        prefix: source.prefix,
        limit: STEP_ENTRIES,
        ...(reached > source.prefix ? { after: reached } : {}),
      }
      for await (const entry of physical.scan(range)) {
        const leaf = source.leafOf(entry)
        if (leaf) forest.set(leaf.partition, leaf.keyId, leaf.digest)
        reached = entry[0]
        entries++
      }
      ended = entries < STEP_ENTRIES
      for (const leaf of meanwhile) if (ended || isBehind(source.placeOf(leaf), reached)) take(leaf)
      meanwhile = []
      await step(entries)
    }
    return { forest, close }
  } catch (error) {
    close()
    throw error
  }
}

/** Stored keys are in the order of their UTF-8 bytes, which is not that of JavaScript's comparison. */
function isBehind(place: string, reached: string): boolean {
  return Buffer.compare(Buffer.from(place), Buffer.from(reached)) <= 0
}
