/** What replication does to a logged store beside ordinary transactions: upstream entries, reads by key id, whole partitions. */
import type { MerkleForest, PartitionId } from '@lockstep/replication'
import { ENTRY_BYTES, KEY_ID_BYTES, keyIdOf, parsePartitionId, partitionId } from '@lockstep/replication'
import type { Engine, PendingCommit, Store } from '@lockstep/storage'
import { hexId, ownerOf, type Placement } from './commit-planner.ts'
import { LoggedStoreError } from './errors.ts'
import { DATA, decodeLeaf, INDEX, indexKey } from './layout.ts'
import type { AppliedEntry, KeyClass, StoredEntry } from './logged-store.ts'
import type { Runtime } from './runtime.ts'

export interface PartitionAccess {
  apply(entries: readonly AppliedEntry[], ignored: ReadonlyMap<string, Uint8Array>): Promise<void>
  /** Placements of a commit made by `apply`, whose mark it takes off; undefined for any other. */
  placements(commit: PendingCommit): ReadonlyMap<string, Placement> | undefined
  keysOf(partition: PartitionId, keyIds: readonly Uint8Array[]): Promise<(string | undefined)[]>
  readEntries(partition: PartitionId, keyIds: readonly Uint8Array[]): Promise<(StoredEntry | undefined)[]>
  deletePartition(partition: PartitionId, mountPath: string): Promise<number>
}

export interface PartitionAccessComponents {
  physical: Engine
  store: Store
  forest: MerkleForest
  classify(key: string): KeyClass
  runtime: Pick<Runtime, 'randomBytes'>
}

const EMPTY = new Uint8Array(0)
const DELETE_BATCH = 256
const FEWEST_NEIGHBOURS = 8
/** Places a key id can have by its first six bytes. */
const PLACES = 2 ** 48

function placeOf(keyId: Uint8Array): number {
  return Buffer.from(keyId.buffer, keyId.byteOffset, keyId.byteLength).readUIntBE(0, 6)
}

export function partitionAccess(components: PartitionAccessComponents): PartitionAccess {
  const { physical, store, forest } = components
  // A commit carries nothing but operations, so one from `apply` starts with an operation on a key nobody can guess.
  const mark = `\u0000apply/${hexId(components.runtime.randomBytes(16))}/`
  const applying = new Map<string, ReadonlyMap<string, Placement>>()
  let sequence = 0

  const place = (entries: readonly AppliedEntry[]) => {
    const placements = new Map<string, Placement>()
    const values = new Map<string, Uint8Array | undefined>()
    for (const { partition, mountPath, key, value } of entries) {
      if (value === undefined) {
        const id = partitionId(partition)
        const earlier = values.get(key) && placements.get(key)
        const owner = earlier ? partitionId(earlier.partition) : ownerOf(forest, keyIdOf(key), id)?.partition
        // The key has moved on to another partition; this deletes its former place only.
        if (owner !== undefined && owner !== id) continue
      }
      placements.set(key, { partition, mountPath })
      values.set(key, value)
    }
    return { placements, values }
  }

  const apply = async (entries: readonly AppliedEntry[], ignored: ReadonlyMap<string, Uint8Array>) => {
    const { placements, values } = place(entries)
    for (const key of ignored.keys()) {
      if (components.classify(key).class !== 'ignored' || values.has(key)) {
        throw new LoggedStoreError('REPLICATION_INVALID', `key ${JSON.stringify(key)} is not of class ignored`)
      }
    }
    if (values.size === 0 && ignored.size === 0) return
    const transaction = await store.begin()
    const marker = mark + sequence++
    applying.set(marker, placements)
    try {
      const done = [transaction.put(marker, EMPTY)]
      for (const [key, value] of values) {
        done.push(value === undefined ? transaction.delete(key) : transaction.put(key, value))
      }
      for (const [key, value] of ignored) done.push(transaction.put(key, value))
      await Promise.all(done)
      await transaction.commit()
    } finally {
      applying.delete(marker)
      await transaction.abort()
    }
  }

  const keysOf = async (partition: PartitionId, keyIds: readonly Uint8Array[]) => {
    const rows = await physical.getMany(keyIds.map((keyId) => indexKey(partition, hexId(keyId))))
    return rows.map((row) => row && decodeLeaf(row).key)
  }

  /**
   * The keys of ids that lie side by side in the index, as those of a subtree do: read in one go, at a fraction of what looking each up
   * costs. Undefined when they are spread too far.
   */
  const neighbours = async (partition: PartitionId, keyIds: readonly Uint8Array[]) => {
    if (keyIds.length < FEWEST_NEIGHBOURS) return undefined
    const span = (placeOf(keyIds.at(-1)!) - placeOf(keyIds[0]!)) / PLACES
    // Key ids are spread evenly. One that is not in order makes the span negative, or the rows below too few.
    if (span < 0 || span * forest.count(partition) > 2 * keyIds.length) return undefined
    const wanted = new Map(keyIds.map((keyId, at) => [indexKey(partition, hexId(keyId)), at]))
    const [first, last] = [indexKey(partition, hexId(keyIds[0]!)), indexKey(partition, hexId(keyIds.at(-1)!))]
    const keys: (string | undefined)[] = new Array(keyIds.length).fill(undefined)
    const range = { prefix: `${INDEX}${partition}/`, after: first.slice(0, -1), limit: 4 * keyIds.length }
    let reached = ''
    for await (const [row, value] of physical.scan(range)) {
      const at = wanted.get(row)
      if (at !== undefined) keys[at] = decodeLeaf(value).key
      reached = row
      if (row >= last) break
    }
    return reached >= last ? keys : undefined
  }

  return {
    apply,
    keysOf,
    placements(commit) {
      const first = commit.operations[0]
      if (!first?.key.startsWith(mark)) return undefined
      commit.operations.shift()
      return applying.get(first.key)
    },
    async readEntries(partition, keyIds) {
      const keys = (await neighbours(partition, keyIds)) ?? (await keysOf(partition, keyIds))
      const present = keys.filter((key) => key !== undefined)
      // Past the read cache: what one sync reads once would push out what is read often.
      const values = await physical.getMany(present.map((key) => DATA + key))
      let next = 0
      return keys.map((key, at) => {
        const value = key === undefined ? undefined : values[next++]
        return key === undefined || value === undefined ? undefined : { keyId: keyIds[at]!, key, value }
      })
    },
    async deletePartition(id, mountPath) {
      const partition = parsePartitionId(id)
      if (!partition) throw new LoggedStoreError('REPLICATION_INVALID', `${JSON.stringify(id)} is not a partition id`)
      let deleted = 0
      let after: Uint8Array | undefined
      for (;;) {
        const packed = forest.entriesUnder(id, '', { after, limit: DELETE_BATCH })
        if (packed.length === 0) return deleted
        const keyIds: Uint8Array[] = []
        for (let at = 0; at < packed.length; at += ENTRY_BYTES) keyIds.push(packed.subarray(at, at + KEY_ID_BYTES))
        after = keyIds.at(-1)
        const keys = (await keysOf(id, keyIds)).filter((key) => key !== undefined)
        await apply(
          keys.map((key) => ({ partition, mountPath, key, value: undefined })),
          new Map(),
        )
        deleted += keys.length
      }
    },
  }
}
