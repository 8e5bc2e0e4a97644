import type { Cursor, ForestReader, Partition, PartitionId, WalRecord } from '@lockstep/replication'
import type { Store } from '@lockstep/storage'

/** What the storage-class rules say of a key. */
export type KeyClass = { class: 'ignored' } | { class: 'replicated' | 'local'; mount: string; mountPath: string }

export interface LoggedStoreOptions {
  classify(key: string): KeyClass
  /** May this cluster write keys of the class itself? On a performance secondary not `replicated`. Rejects with `REPLICATION_READ_ONLY`. */
  writable(keyClass: KeyClass): boolean
  /** Keep WAL records (some primary role is on)? When false only the head advances. */
  keepLog(): boolean
  /** Ciphertext read cache, bytes. Default 32 MiB. */
  cacheBytes?: number
  /** Cap of the retained log on disk, bytes. Default 256 MiB. */
  logBytes?: number
}

/** One upstream entry, as verified by the receiver. `value` undefined = delete. */
export interface AppliedEntry {
  partition: Partition
  mountPath: string
  key: string
  value: Uint8Array | undefined
}

/** What is stored under one leaf of the forest. */
export interface StoredEntry {
  key: string
  /** Where the key's mount stands now. */
  mountPath: string
  value: Uint8Array
}

/** A `Store` of ciphertext in which every commit also writes its WAL record, class tag and Merkle leaf, atomically. */
export interface LoggedStore extends Store {
  readonly log: Log
  /**
   * The live Merkle forest. It changes in the same synchronous step in which `log.head()` moves and `apply` or a commit
   * becomes durable, so a reader that does not await in between sees forest and head of one moment.
   */
  readonly forest: ForestReader
  /** Keys behind leaves, in the order asked; undefined where the partition has no such key id (any more). */
  keysOf(partition: PartitionId, keyIds: readonly Uint8Array[]): Promise<(string | undefined)[]>
  /** Entries behind leaves, in the order asked; undefined where the partition has no such key id (any more). */
  readEntries(partition: PartitionId, keyIds: readonly Uint8Array[]): Promise<(StoredEntry | undefined)[]>
  /** Writes entries received from the primary, bypassing `writable`, atomically with `ignored` puts (for instance the cursor). */
  apply(entries: readonly AppliedEntry[], ignored: ReadonlyMap<string, Uint8Array>): Promise<void>
  /** Called after each durable commit with the keys it changed and whether it came from upstream. The one invalidation route. */
  onChanged(listener: (keys: readonly string[], source: 'own' | 'upstream') => void): () => void
}

export interface Log {
  head(): Cursor
  /** Oldest index still on disk; head.index + 1 when none is. */
  oldest(): number
  /** Digest at an index still on disk (or at `oldest - 1`), else undefined. */
  digestAt(index: number): Promise<Uint8Array | undefined>
  /** Records with index > `after`, up to about `maxBytes`, at least one when there is one. */
  read(after: number, maxBytes: number): Promise<WalRecord[]>
  onAppend(listener: (head: Cursor) => void): () => void
  /** Records after `index` are kept for this consumer, within the cap. */
  retain(consumer: string, index: number): void
  release(consumer: string): void
  /** Starts a new epoch (promotion): head keeps its index. Durable when resolved. */
  startEpoch(epoch: number): Promise<void>
}

export type PartitionLookup = (key: string) => PartitionId | undefined
