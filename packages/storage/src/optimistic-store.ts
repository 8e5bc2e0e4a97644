import { CommitHistory } from './commit-history.ts'
import type { CommitHooks, Engine } from './engine.ts'
import { StorageError } from './errors.ts'
import { GroupCommit } from './group-commit.ts'
import { assertValue, invalidKey, invalidListPrefix } from './key.ts'
import { OptimisticTransaction, type TransactionHome } from './optimistic-transaction.ts'
import { scanList } from './scan-list.ts'
import type { Entry, ListOptions, ScanRange, Store, StoreLimits, Transaction } from './store.ts'
import { ENGINE_BELOW, type LayeredStore } from './store-engine.ts'

export interface OptimisticStoreOptions {
  hooks?: CommitHooks
  /** Most commits written together. Default 1024. */
  maxGroup?: number
  /** Changed keys remembered for open transactions; past it the oldest transaction conflicts. Default 1,000,000. */
  maxHistory?: number
  /** Calls when everything that is ready by now has had its turn. Default `setImmediate`. */
  nextTurn?(run: () => void): void
}

// Taken at load so that fake timers of a test cannot stop commits.
const systemNextTurn: (run: () => void) => void = setImmediate

/**
 * A store on an engine that only this process writes: reads go straight to the engine, transactions are checked for
 * conflicts when they commit, and commits that arrive while others are being written become durable together.
 */
export function optimisticStore(engine: Engine, options: OptimisticStoreOptions = {}): Store {
  return new OptimisticStore(engine, options)
}

class OptimisticStore implements LayeredStore, TransactionHome {
  readonly engine: Engine
  readonly history: CommitHistory
  readonly commits: GroupCommit
  readonly #hooked: boolean
  #closing: Promise<void> | undefined

  constructor(engine: Engine, options: OptimisticStoreOptions) {
    this.engine = engine
    this.#hooked = options.hooks !== undefined
    this.history = new CommitHistory(options.maxHistory ?? 1_000_000)
    const { hooks = {}, maxGroup = 1024, nextTurn = systemNextTurn } = options
    this.commits = new GroupCommit(engine, this.history, hooks, maxGroup, nextTurn)
  }

  get limits(): StoreLimits | undefined {
    return this.engine.limits
  }

  // Not async functions: one promise less on each read and write.
  get(key: string): Promise<Uint8Array | undefined> {
    const problem = this.closedError() ?? invalidKey(key)
    return problem === undefined ? this.engine.get(key) : Promise.reject(problem)
  }

  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    let problem = this.closedError()
    for (const key of keys) problem ??= invalidKey(key)
    if (problem !== undefined) return Promise.reject(problem)
    return keys.length === 0 ? Promise.resolve([]) : this.engine.getMany(keys)
  }

  list(prefix: string, options: ListOptions = {}): Promise<string[]> {
    const problem = this.closedError() ?? invalidListPrefix(prefix)
    if (problem !== undefined) return Promise.reject(problem)
    return this.engine.list?.(prefix, options) ?? scanList(this.engine, prefix, options)
  }

  async *scan(range: ScanRange = {}): AsyncGenerator<Entry> {
    this.#assertOpen()
    for await (const entry of this.engine.scan(range)) {
      yield entry
      this.#assertOpen()
    }
  }

  put(key: string, value: Uint8Array): Promise<void> {
    const problem = this.closedError() ?? invalidKey(key)
    if (problem !== undefined) return Promise.reject(problem)
    try {
      assertValue(value)
    } catch (error) {
      return Promise.reject(error)
    }
    return this.commits.write({ type: 'put', key, value })
  }

  delete(key: string): Promise<void> {
    const problem = this.closedError() ?? invalidKey(key)
    return problem === undefined ? this.commits.write({ type: 'delete', key }) : Promise.reject(problem)
  }

  begin(): Promise<Transaction> {
    const problem = this.closedError()
    return problem === undefined ? Promise.resolve(new OptimisticTransaction(this)) : Promise.reject(problem)
  }

  close(): Promise<void> {
    this.#closing ??= this.commits.drain().then(() => this.engine.close())
    return this.#closing
  }

  /** Hooks must see every commit. */
  [ENGINE_BELOW](): Engine | undefined {
    return this.#hooked ? undefined : this.engine
  }

  closedError(): StorageError | undefined {
    return this.#closing === undefined ? undefined : new StorageError('STORAGE_CLOSED', 'the store is closed')
  }

  #assertOpen(): void {
    const closed = this.closedError()
    if (closed !== undefined) throw closed
  }
}
