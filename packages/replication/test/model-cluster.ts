/** A cluster's logged store, in memory and synchronous: what the sessions see of a real one. */
import {
  type Cursor,
  encodeRecord,
  genesisCursor,
  keyIdOf,
  leafDigestOf,
  merkleForest,
  NO_POSITION,
  nextDigest,
  type Partition,
  type PartitionId,
  type Position,
  parsePartitionId,
  partitionId,
  type WalOperation,
  type WalRecord,
} from '@lockstep/replication'

export interface ModelCluster {
  readonly name: string
  readonly forest: ReturnType<typeof merkleForest>
  readonly mounts: Map<string, string>
  position: Position
  head(): Cursor
  oldest(): number
  digestAt(index: number): Uint8Array | undefined
  read(after: number, maxBytes: number): { records: WalRecord[]; end: Cursor } | 'trimmed'
  /** One transaction of own writes; null deletes. */
  commit(writes: readonly { partition: Partition; key: string; value: Uint8Array | null }[]): void
  apply(
    deletions: readonly { partition: PartitionId; keyIds: readonly Uint8Array[] }[],
    entries: readonly WalOperation[],
    position: Position,
  ): void
  entryOf(partition: PartitionId, keyId: Uint8Array): { key: string; value: Uint8Array } | undefined
  /** Partition and value of every key. */
  contents(): Map<string, { partition: PartitionId; value: Uint8Array }>
  retain(consumer: string, index: number): void
  /** Drops records nobody retains, or, with `all`, every record up to the index. */
  trim(all?: number): void
  startEpoch(): void
  snapshot(): () => void
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

export function modelCluster(name: string): ModelCluster {
  const forest = merkleForest()
  const keys = new Map<string, { partition: PartitionId; value: Uint8Array }>()
  const names = new Map<string, string>()
  const retained = new Map<string, number>()
  let log: { record: WalRecord; digest: Uint8Array }[] = []
  let head = genesisCursor(Buffer.from(name))
  let beforeOldest = head.digest

  const mountPath = (mount: string) => cluster.mounts.get(mount) ?? ''

  const drop = (key: string, from: PartitionId) => {
    forest.remove(from, keyIdOf(key))
    keys.delete(key)
  }

  /** Carries out one operation and returns what the log says of it. */
  const write = (operation: Omit<WalOperation, 'mountPath'>): WalOperation[] => {
    const { partition, key, value } = operation
    const id = partitionId(partition)
    const owner = keys.get(key)?.partition
    const logged: WalOperation[] = []
    if (owner !== undefined && owner !== id && value !== undefined) {
      const old = parsePartitionId(owner)!
      logged.push({ partition: old, mountPath: mountPath(old.mount), key, value: undefined })
      drop(key, owner)
    }
    if (value !== undefined) {
      keys.set(key, { partition: id, value })
      names.set(hex(keyIdOf(key)), key)
      forest.set(id, keyIdOf(key), leafDigestOf(key, value))
    } else if (owner === id) {
      drop(key, owner)
    } else {
      return []
    }
    return [...logged, { partition, mountPath: mountPath(partition.mount), key, value }]
  }

  const append = (operations: WalOperation[]) => {
    if (operations.length === 0) return
    const record = { epoch: head.epoch, index: head.index + 1, operations }
    head = { epoch: head.epoch, index: record.index, digest: nextDigest(head.digest, encodeRecord(record)) }
    log.push({ record, digest: head.digest })
  }

  const oldest = () => head.index - log.length + 1

  const cluster: ModelCluster = {
    name,
    forest,
    mounts: new Map([['core', '']]),
    position: NO_POSITION,
    head: () => head,
    oldest,
    digestAt(index) {
      if (index === oldest() - 1) return beforeOldest
      return log[index - oldest()]?.digest
    },
    read(after, maxBytes) {
      if (after < oldest() - 1) return 'trimmed'
      const records: WalRecord[] = []
      let bytes = 0
      for (const { record } of log.slice(after - oldest() + 1)) {
        bytes += encodeRecord(record).length
        if (records.length > 0 && bytes > maxBytes) break
        records.push(record)
      }
      const last = records.at(-1)
      if (last === undefined) return { records, end: head }
      return { records, end: { epoch: last.epoch, index: last.index, digest: cluster.digestAt(last.index)! } }
    },
    commit(writes) {
      append(writes.flatMap(({ partition, key, value }) => write({ partition, key, value: value ?? undefined })))
    },
    apply(deletions, entries, position) {
      const operations: WalOperation[] = []
      for (const { partition, keyIds } of deletions) {
        for (const keyId of keyIds) {
          if (!forest.get(partition, keyId)) continue
          const key = names.get(hex(keyId))!
          operations.push(...write({ partition: parsePartitionId(partition)!, key, value: undefined }))
        }
      }
      for (const entry of entries) operations.push(...write(entry))
      append(operations)
      cluster.position = position
    },
    entryOf(partition, keyId) {
      if (!forest.get(partition, keyId)) return undefined
      const key = names.get(hex(keyId))!
      return { key, value: keys.get(key)!.value }
    },
    contents: () => new Map(keys),
    retain: (consumer, index) => {
      retained.set(consumer, index)
    },
    trim(all) {
      const upTo = Math.min(all ?? Math.min(head.index, ...retained.values()), head.index)
      while (oldest() <= upTo) beforeOldest = log.shift()!.digest
    },
    startEpoch() {
      head = { ...head, epoch: head.epoch + 1 }
    },
    snapshot() {
      const saved = { keys: [...keys], log: [...log], head, beforeOldest }
      return () => {
        for (const partition of [...forest.partitions()]) forest.drop(partition)
        keys.clear()
        for (const [key, entry] of saved.keys) {
          keys.set(key, entry)
          forest.set(entry.partition, keyIdOf(key), leafDigestOf(key, entry.value))
        }
        log = [...saved.log]
        head = saved.head
        beforeOldest = saved.beforeOldest
      }
    },
  }
  return cluster
}
