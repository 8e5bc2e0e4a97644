import type { Cursor, ForestReader, Partition, PartitionId, WalRecord } from '@lockstep/replication'
import type { Store } from '@lockstep/storage'
import type { IndexReport, VerifyOptions } from './index-check.ts'
import type { LogConsumer } from './log-consumers.ts'
import type { LogPressure } from './log-trimmer.ts'
import type { Runtime } from './runtime.ts'

/** What the storage-class rules say of a key. */
export type KeyClass = { class: 'ignored' } | { class: 'replicated' | 'local'; mount: string; mountPath: string }

export interface LoggedStoreOptions {
  classify(key: string): KeyClass
  /**
   * Write nothing whatever, not even what opening and trimming would: for a node beside the one that writes. What is read is current, head and forest
   * are those of the opening. Writes reject with `REPLICATION_READ_ONLY`. Default false.
   */
  readOnly?: boolean
  /** May this cluster write keys of the class itself? On a performance secondary not `replicated`. Rejects with `REPLICATION_READ_ONLY`. Default: yes. */
  writable?(keyClass: KeyClass): boolean
  /** Keep WAL records (some primary role is on)? When false only the head advances. Default: yes. */
  keepLog?(): boolean
  /** Ciphertext read cache, bytes. Default 32 MiB. */
  cacheBytes?: number
  /** Cap of the retained log on disk, bytes. Default 256 MiB. */
  logBytes?: number
  /** Age at which a record of the log is given up, whoever needs it, ms. Default 24 hours. */
  logMaxAgeMs?: number
  /** Cap of the retained log in records. Default: none. */
  logRecords?: number
  /** Newest records kept in memory, bytes. Default 16 MiB. */
  tailBytes?: number
  /**
   * Most bytes of replicated and local keys and values in one transaction (`REPLICATION_TOO_LARGE`). Default 24 MiB: its
   * record has to fit the limits of the WAL codec and of a message.
   */
  maxCommitBytes?: number
  /** How often the log is trimmed, and how long consumers may take to `retain` after opening. ms, default 1000. */
  trimDelayMs?: number
  /**
   * The kept log has passed 75 % of `logBytes`, or of `logMaxAgeMs` while some consumer needs it. Called once for each, and again only
   * after it fell below 60 %.
   */
  onLogPressure?(pressure: LogPressure): void
  /** Default: the system's. */
  runtime?: Runtime
}

/** One upstream entry, as verified by the receiver. `value` undefined = delete. */
export interface AppliedEntry {
  partition: Partition
  mountPath: string
  key: string
  value: Uint8Array | undefined
}

/**
 * A `Store` of ciphertext in which every commit also writes its WAL record, class tag and Merkle leaf, atomically.
 * `close` leaves the physical store open: it belongs to whoever made it.
 */
export interface LoggedStore extends Store {
  readonly log: Log
  /** Always in step with `log.head()`. Changes only between turns, never during a call. */
  readonly forest: ForestReader
  /**
   * Writes entries received from the primary, bypassing `writable`, atomically with `ignored` puts (for instance the cursor).
   * Of several entries with one key the last counts, but a deletion from a partition that does not hold the key is skipped.
   * They become one record of this cluster's own log.
   */
  apply(entries: readonly AppliedEntry[], ignored: ReadonlyMap<string, Uint8Array>): Promise<void>
  /** Called after each durable commit with the keys it changed and whether it came from upstream. The one invalidation route. */
  onChanged(listener: (keys: readonly string[], source: 'own' | 'upstream') => void): () => void
  /** Keys of a partition by key id (16 bytes), in order, without reading their values; `undefined` where there is none. */
  keysOf(partition: PartitionId, keyIds: readonly Uint8Array[]): Promise<(string | undefined)[]>
  /** Current entries of a partition by key id (16 bytes), in order; `undefined` where there is none. */
  readEntries(partition: PartitionId, keyIds: readonly Uint8Array[]): Promise<(StoredEntry | undefined)[]>
  /** Deletes a whole partition in bounded commits, as `apply` would. Returns how many keys it held. */
  deletePartition(partition: PartitionId, mountPath: string): Promise<number>
  /**
   * Compares data, stored Merkle index and forest, while writes go on; `repair` makes index and forest follow the data. Takes as much
   * memory again as the forest while it runs.
   */
  verify(options?: VerifyOptions): Promise<IndexReport>
}

export interface StoredEntry {
  keyId: Uint8Array
  key: string
  value: Uint8Array
}

export interface Log {
  head(): Cursor
  /** Oldest index still on disk; head.index + 1 when none is. */
  oldest(): number
  /**
   * Digest at an index still on disk (or at `oldest - 1`), else undefined. Asked for an index after the head, rejects with `REPLICATION_FENCED` when the
   * storage has another head: this node leads no more.
   */
  digestAt(index: number): Promise<Uint8Array | undefined>
  /**
   * Records with index > `after`, contiguous, up to about `maxBytes`, at least one when there is one. Rejects with
   * `REPLICATION_LOG_TRIMMED` when record `after + 1` is no longer kept. Recent ones come from memory, shared: do not change.
   */
  read(after: number, maxBytes: number): Promise<WalRecord[]>
  onAppend(listener: (head: Cursor) => void): () => void
  /** Records after `index` are kept for this consumer, within the cap. */
  retain(consumer: string, index: number): void
  release(consumer: string): void
  /** Bytes of the records kept. */
  bytes(): number
  /** When the oldest record kept was written, by this cluster's clock, ms since the epoch; undefined when none is kept. */
  oldestTime(): number | undefined
  /** When a record still on disk was written; undefined for any other. */
  timeAt(index: number): Promise<number | undefined>
  /** For whom the log is kept, and how far behind they are, slowest first. */
  consumers(): LogConsumer[]
  /** What the log may grow to. */
  readonly caps: { bytes: number; records: number; ageMs: number }
  /** Gives up now what may be given up, rather than within `trimDelayMs`. */
  trim(): Promise<void>
  /** Starts a new epoch (promotion), greater than the head's: head keeps its index. Durable when resolved. */
  startEpoch(epoch: number): Promise<void>
}
