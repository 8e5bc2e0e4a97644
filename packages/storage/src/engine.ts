import type { Entry, ListOptions, ScanRange, StoreLimits } from './store.ts'

export type WriteOperation = { type: 'put'; key: string; value: Uint8Array } | { type: 'delete'; key: string }

/**
 * The least a storage engine must offer; `optimisticStore` makes a whole `Store` of it: snapshot reads for
 * transactions, conflict detection, and group commit. One process at a time may write through an engine.
 */
export interface Engine {
  /** As `Store.limits`. */
  readonly limits?: StoreLimits | undefined
  get(key: string): Promise<Uint8Array | undefined>
  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]>
  /** From one snapshot, taken at the latest when the first step resolves. */
  scan(range: ScanRange): AsyncIterable<Entry>
  /** As `Reader.list`, from one snapshot. Default: a scan of everything below the prefix. */
  list?(prefix: string, options?: ListOptions): Promise<string[]>
  /**
   * All operations or none, in order when a key occurs twice; durable when resolved. Reads must not see any of it
   * before it is durable. After a rejection all or none of it is stored; a read that begins then shows which, for good.
   */
  write(operations: readonly WriteOperation[]): Promise<void>
  close(): Promise<void>
}

/** One transaction's writes as they are about to be committed, in commit order. */
export interface PendingCommit {
  /** The last write of each key. May be appended to by `prepareGroup`. */
  operations: WriteOperation[]
}

/**
 * Hooks a layer may set between conflict detection and the engine. Groups are strictly ordered: the next group is
 * prepared only after `committed` or `failed` of the one before.
 */
export interface CommitHooks {
  /**
   * Called with the non-conflicting commits of one group, in order; returns more operations to write atomically with
   * and after them. A rejection fails the group. Keys it adds are checked against reads of later groups only.
   */
  prepareGroup?(commits: readonly PendingCommit[]): Promise<WriteOperation[]> | WriteOperation[]
  /** The group is durable. Called before any of its commits resolves. Must not throw. */
  committed?(commits: readonly PendingCommit[]): void
  /**
   * `prepareGroup` or the engine refused the group. Of the latter it may be stored all the same, as after a lost answer;
   * transactions that have read its keys conflict. Must not throw.
   */
  failed?(error: unknown): void
}
