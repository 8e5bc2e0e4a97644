import type { Entry, ScanRange } from './store.ts'

export type WriteOperation = { type: 'put'; key: string; value: Uint8Array } | { type: 'delete'; key: string }

/**
 * The least a storage engine must offer; `optimisticStore` makes a whole `Store` of it: snapshot reads for
 * transactions, conflict detection, and group commit. One process at a time may write through an engine.
 */
export interface Engine {
  get(key: string): Promise<Uint8Array | undefined>
  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]>
  scan(range: ScanRange): AsyncIterable<Entry>
  /** All operations or none; durable when resolved. */
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
  /** Called with the non-conflicting commits of one group, in order; returns more operations to write atomically with them. */
  prepareGroup?(commits: readonly PendingCommit[]): Promise<WriteOperation[]> | WriteOperation[]
  /** The group is durable. Called before any of its commits resolves. Must not throw. */
  committed?(commits: readonly PendingCommit[]): void
  /** The engine refused the group; nothing of it is stored. Must not throw. */
  failed?(error: unknown): void
}
