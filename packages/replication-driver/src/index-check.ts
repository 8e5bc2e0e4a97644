/** Compares what a logged store holds three times over: the data, the stored Merkle index, and the forest in memory. */
import type { MerkleForest, PartitionId } from '@lockstep/replication'
import { keyIdOf, leafDigestOf, merkleForest } from '@lockstep/replication'
import type { Engine, WriteOperation } from '@lockstep/storage'
import { hexId, ownerOf } from './commit-planner.ts'
import { DATA, decodeLeaf, encodeLeaf, INDEX, indexKey, parseIndexKey } from './layout.ts'
import type { KeyClass } from './logged-store.ts'

export interface IndexDifference {
  partition: PartitionId
  key: string
  /**
   * `missing`: data without an index row. `stray`: an index row without data, or a second one. `mismatch`: the row has another
   * digest than the data. `memory`: only the forest in memory is wrong.
   */
  problem: 'missing' | 'stray' | 'mismatch' | 'memory'
}

export interface IndexReport {
  /** Data entries read. */
  keys: number
  /** How many differences were found; `differences` lists the first 1000. */
  total: number
  differences: IndexDifference[]
  repaired: boolean
}

export interface IndexCheckComponents {
  physical: Engine
  forest: MerkleForest
  classify(key: string): KeyClass
  quietly(body: () => Promise<void>): Promise<void>
}

interface Suspect {
  partition: PartitionId
  keyId: Uint8Array
  key: string
}

const MAX_REPORTED = 1000
const BATCH = 128

/**
 * Two passes over snapshots find suspects while commits go on; each suspect is then looked at again between commits, so a
 * write that fell between the passes is no difference.
 */
export async function checkIndex(
  components: IndexCheckComponents,
  options: { repair?: boolean; onProgress?(keys: number): void } = {},
): Promise<IndexReport> {
  const { physical, forest } = components
  const repair = options.repair ?? false
  const report: IndexReport = { keys: 0, total: 0, differences: [], repaired: repair }
  const suspects: Suspect[] = []

  const found = (difference: IndexDifference) => {
    report.total++
    if (report.differences.length < MAX_REPORTED) report.differences.push(difference)
  }

  const judge = async () => {
    const batch = suspects.splice(0)
    for (let at = 0; at < batch.length; at += BATCH) {
      const part = batch.slice(at, at + BATCH)
      await components.quietly(() => judgeBatch(components, part, repair, found))
    }
  }

  const rebuilt = merkleForest()
  for await (const [stored, value] of physical.scan({ prefix: DATA })) {
    const key = stored.slice(DATA.length)
    const keyId = keyIdOf(key)
    const partition = expectedPartition(components, keyId, key)
    if (++report.keys % 4096 === 0) options.onProgress?.(report.keys)
    if (partition !== undefined) rebuilt.set(partition, keyId, leafDigestOf(key, value))
  }

  for await (const [row, value] of physical.scan({ prefix: INDEX })) {
    const { partition, keyId: id } = parseIndexKey(row)
    const keyId = Buffer.from(id, 'hex')
    const { digest, key } = decodeLeaf(value)
    const fromData = rebuilt.get(partition, keyId)
    const live = forest.get(partition, keyId)
    if (!same(fromData, digest) || !same(live, digest)) suspects.push({ partition, keyId, key })
    rebuilt.remove(partition, keyId)
    if (suspects.length >= 4096) await judge()
  }
  await judge()

  if (rebuilt.partitions().length > 0) {
    for await (const [stored] of physical.scan({ prefix: DATA })) {
      const key = stored.slice(DATA.length)
      const keyId = keyIdOf(key)
      for (const partition of rebuilt.partitions()) {
        if (rebuilt.get(partition, keyId)) suspects.push({ partition, keyId, key })
      }
      if (suspects.length >= 4096) await judge()
    }
    await judge()
  }
  return report
}

/** The tag on record wins over today's rules: an upstream entry keeps the partition it came with. */
function expectedPartition(
  { forest, classify }: Pick<IndexCheckComponents, 'forest' | 'classify'>,
  keyId: Uint8Array,
  key: string,
): PartitionId | undefined {
  const ruled = ruledPartition(classify, key)
  return ownerOf(forest, keyId, ruled)?.partition ?? ruled
}

/** Undefined also where no rule speaks of the key: a DR secondary knows its primary's mounts by the tags of their entries only. */
function ruledPartition(classify: IndexCheckComponents['classify'], key: string): PartitionId | undefined {
  let keyClass: KeyClass
  try {
    keyClass = classify(key)
  } catch {
    return undefined
  }
  return keyClass.class === 'ignored' ? undefined : `${keyClass.class}/${keyClass.mount}`
}

async function judgeBatch(
  components: IndexCheckComponents,
  suspects: readonly Suspect[],
  repair: boolean,
  found: (difference: IndexDifference) => void,
): Promise<void> {
  const { physical, forest } = components
  const rowKeys = suspects.map(({ partition, keyId }) => indexKey(partition, hexId(keyId)))
  const rows = await physical.getMany(rowKeys)
  const values = await physical.getMany(suspects.map(({ key }) => DATA + key))
  const writes: WriteOperation[] = []
  const fixes: { suspect: Suspect; digest: Uint8Array | undefined }[] = []
  for (const [place, suspect] of suspects.entries()) {
    const { partition, keyId, key } = suspect
    const value = values[place]
    const stored = rows[place] && decodeLeaf(rows[place]).digest
    const wrongKey = !same(keyIdOf(key), keyId)
    const belongs = value && !wrongKey && expectedPartition(components, keyId, key) === partition
    const digest = belongs ? leafDigestOf(key, value) : undefined
    const problem = problemOf(digest, stored, forest.get(partition, keyId))
    if (!problem) continue
    found({ partition, key, problem })
    fixes.push({ suspect, digest })
    const row: WriteOperation = digest
      ? { type: 'put', key: rowKeys[place]!, value: encodeLeaf(digest, key) }
      : { type: 'delete', key: rowKeys[place]! }
    writes.push(row)
  }
  if (!repair || writes.length === 0) return
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
