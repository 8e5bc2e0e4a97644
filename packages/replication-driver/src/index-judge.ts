/** Looks at single leaves between two commits, when data, index row and live forest have to agree, and makes the index follow the data. */
import type { MerkleForest, PartitionId } from '@lockstep/replication'
import { keyIdOf, leafDigestOf } from '@lockstep/replication'
import type { Engine, WriteOperation } from '@lockstep/storage'
import { hexId, ownerOf } from './commit-planner.ts'
import type { IndexDifference } from './index-check.ts'
import { DATA, decodeLeaf, encodeLeaf, indexKey } from './layout.ts'
import type { KeyClass } from './logged-store.ts'

export interface Suspect {
  partition: PartitionId
  keyId: Uint8Array
  /** As far as it is known; its index row tells it too. */
  key?: string
}

export interface Judgement {
  found: (IndexDifference & { keyId: Uint8Array; repaired: boolean })[]
  /** Neither the suspect nor an index row says which key it is. */
  nameless: Suspect[]
}

export interface JudgeComponents {
  physical: Engine
  forest: MerkleForest
  classify(key: string): KeyClass
  quietly<T>(body: () => Promise<T>): Promise<T>
}

/** Leaves looked at while commits wait. */
const BATCH = 32

export async function judgeSuspects(
  components: JudgeComponents,
  suspects: readonly Suspect[],
  repairs: (partition: PartitionId) => boolean,
): Promise<Judgement> {
  const judgement: Judgement = { found: [], nameless: [] }
  for (let at = 0; at < suspects.length; at += BATCH) {
    const batch = suspects.slice(at, at + BATCH)
    await components.quietly(() => judgeBatch(components, batch, repairs, judgement))
  }
  return judgement
}

/** What is left in memory of a key that is nowhere on the disk. */
export async function judgeLost(
  { forest, quietly }: JudgeComponents,
  { partition, keyId }: Suspect,
  repairs: (partition: PartitionId) => boolean,
): Promise<Judgement['found']> {
  return quietly(async () => {
    if (forest.get(partition, keyId) === undefined) return []
    const repaired = repairs(partition)
    if (repaired) forest.remove(partition, keyId)
    return [{ partition, keyId, key: '', problem: 'memory' as const, repaired }]
  })
}

/** The tag on record wins over today's rules: an upstream entry keeps the partition it came with. */
export function expectedPartition(
  { forest, classify }: Pick<JudgeComponents, 'forest' | 'classify'>,
  keyId: Uint8Array,
  key: string,
): PartitionId | undefined {
  const ruled = ruledPartition(classify, key)
  return ownerOf(forest, keyId, ruled)?.partition ?? ruled
}

/** Undefined also where no rule speaks of the key: a DR secondary knows its primary's mounts by the tags of their entries only. */
function ruledPartition(classify: JudgeComponents['classify'], key: string): PartitionId | undefined {
  let keyClass: KeyClass
  try {
    keyClass = classify(key)
  } catch {
    return undefined
  }
  return keyClass.class === 'ignored' ? undefined : `${keyClass.class}/${keyClass.mount}`
}

async function judgeBatch(
  components: JudgeComponents,
  suspects: readonly Suspect[],
  repairs: (partition: PartitionId) => boolean,
  judgement: Judgement,
): Promise<void> {
  const { physical, forest } = components
  const rowKeys = suspects.map(({ partition, keyId }) => indexKey(partition, hexId(keyId)))
  const rows = await physical.getMany(rowKeys)
  const keys = suspects.map(({ key }, place) => key ?? (rows[place] && decodeLeaf(rows[place]).key))
  const values = await physical.getMany(keys.filter((key) => key !== undefined).map((key) => DATA + key))
  const writes: WriteOperation[] = []
  const fixes: { suspect: Suspect; digest: Uint8Array | undefined }[] = []
  let nextValue = 0
  for (const [place, suspect] of suspects.entries()) {
    const { partition, keyId } = suspect
    const key = keys[place]
    if (key === undefined) {
      judgement.nameless.push(suspect)
      continue
    }
    const value = values[nextValue++]
    const stored = rows[place] && decodeLeaf(rows[place]).digest
    const belongs = value && same(keyIdOf(key), keyId) && expectedPartition(components, keyId, key) === partition
    const digest = belongs ? leafDigestOf(key, value) : undefined
    const problem = problemOf(digest, stored, forest.get(partition, keyId))
    if (!problem) continue
    const repaired = repairs(partition)
    judgement.found.push({ partition, keyId, key, problem, repaired })
    if (!repaired) continue
    fixes.push({ suspect, digest })
    writes.push(
      digest
        ? { type: 'put', key: rowKeys[place]!, value: encodeLeaf(digest, key) }
        : { type: 'delete', key: rowKeys[place]! },
    )
  }
  if (writes.length === 0) return
  await physical.write(writes)
  for (const { suspect, digest } of fixes) {
    if (digest) forest.set(suspect.partition, suspect.keyId, digest)
    else forest.remove(suspect.partition, suspect.keyId)
  }
}

function problemOf(
  data: Uint8Array | undefined,
  stored: Uint8Array | undefined,
  live: Uint8Array | undefined,
): IndexDifference['problem'] | undefined {
  if (data === undefined && stored !== undefined) return 'stray'
  if (data !== undefined && stored === undefined) return 'missing'
  if (!same(data, stored)) return 'mismatch'
  return same(stored, live) ? undefined : 'memory'
}

function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return Buffer.compare(a, b) === 0
}
