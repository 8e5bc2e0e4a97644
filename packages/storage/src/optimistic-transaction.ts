import type { CommitHistory, SnapshotReader } from './commit-history.ts'
import type { Engine } from './engine.ts'
import { StorageError } from './errors.ts'
import type { GroupCommit } from './group-commit.ts'
import { assertValue, invalidKey, invalidListPrefix } from './key.ts'
import { type KeySet, ObservedList, ObservedScan } from './observed-range.ts'
import { scanList } from './scan-list.ts'
import type { Entry, ListOptions, ScanRange, Transaction } from './store.ts'
import { type BufferedSource, WriteBuffer } from './write-buffer.ts'

/** What a transaction needs of its store. */
export interface TransactionHome {
  readonly engine: Engine
  readonly history: CommitHistory
  readonly commits: GroupCommit
  /** The error of a closed store, or undefined. */
  closedError(): StorageError | undefined
}

/**
 * Reads the engine's current state and checks that it is still the state of the snapshot, so it needs no snapshots
 * of the engine; a read that would show later state rejects at once. The snapshot is the moment of the first read.
 */
export class OptimisticTransaction implements Transaction, SnapshotReader, BufferedSource {
  snapshot = -1
  outdated = false
  readonly #home: TransactionHome
  readonly #writes = new WriteBuffer()
  readonly #keys = new Set<string>()
  readonly #ranges: (ObservedScan | ObservedList)[] = []
  #ended = false
  #conflicted = false

  constructor(home: TransactionHome) {
    this.#home = home
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#assertUsable(invalidKey(key))
    if (this.#writes.has(key)) return this.#writes.get(key)
    await this.#observeKey(key)
    const value = await this.#home.engine.get(key)
    // The engine may show a group before it is known whether the group is durable.
    const pending = this.#home.commits.pendingKey(key)
    if (pending !== undefined) await pending
    this.#assertUnchanged(key)
    return value
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    for (const key of keys) this.#assertUsable(invalidKey(key))
    this.#assertUsable(undefined)
    const missing = keys.filter((key) => !this.#writes.has(key))
    for (const key of missing) await this.#observeKey(key)
    const values = missing.length === 0 ? [] : await this.#home.engine.getMany(missing)
    for (const key of missing) {
      await this.#home.commits.pendingKey(key)
      this.#assertUnchanged(key)
    }
    let next = 0
    return keys.map((key) => (key === missing[next] ? values[next++] : this.#writes.get(key)))
  }

  async list(prefix: string, options: ListOptions = {}): Promise<string[]> {
    this.#assertUsable(invalidListPrefix(prefix))
    return this.#writes.list(prefix, options, this.#below)
  }

  async *scan(range: ScanRange = {}): AsyncGenerator<Entry> {
    this.#assertUsable(undefined)
    for await (const entry of this.#writes.scan(range, this.#below)) {
      yield entry
      this.#assertUsable(undefined)
    }
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    this.#assertUsable(invalidKey(key))
    assertValue(value)
    this.#writes.put(key, value)
  }

  async delete(key: string): Promise<void> {
    this.#assertUsable(invalidKey(key))
    this.#writes.delete(key)
  }

  async commit(): Promise<void> {
    this.#assertUsable(undefined)
    this.#ended = true
    if (this.#conflicted) {
      this.#release()
      throw conflict('the transaction')
    }
    if (this.#writes.size === 0) return this.#release()
    await this.#home.commits.commit(this.#writes.operations(), (groupKeys) => this.#validate(groupKeys))
  }

  async abort(): Promise<void> {
    // After commit the snapshot belongs to the commit under way.
    if (this.#ended) return
    this.#ended = true
    this.#release()
  }

  /** Reads of the committed state, each recorded for validation. */
  readonly #below: BufferedSource = {
    list: (prefix, options) => this.#observedList(prefix, options),
    scan: (range) => this.#observedScan(range),
  }

  async #observedList(prefix: string, options: ListOptions): Promise<string[]> {
    const observed = new ObservedList(prefix, options)
    await this.#observe(observed)
    const { engine } = this.#home
    const names = await (engine.list?.(prefix, options) ?? scanList(engine, prefix, options))
    if (names.length === options.limit) observed.endAt(names.at(-1))
    await this.#assertRangeUnchanged(observed)
    return names
  }

  async *#observedScan(range: ScanRange): AsyncGenerator<Entry> {
    const observed = new ObservedScan(range)
    await this.#observe(observed)
    let changes: string[] | undefined
    let count = 0
    for await (const entry of this.#home.engine.scan(range)) {
      // The engine's snapshot was taken by now, so later commits cannot show up in this scan.
      changes ??= await this.#changesIn(observed.whole())
      observed.reached(entry[0])
      if (changes.length > 0 && changes.some((key) => observed.contains(key))) this.#failRange()
      yield entry
      this.#assertUsable(undefined)
      count++
    }
    if (count !== range.limit) observed.complete()
    if (changes === undefined) await this.#assertRangeUnchanged(observed)
    else if (changes.some((key) => observed.contains(key))) this.#failRange()
  }

  async #observeKey(key: string): Promise<void> {
    this.#keys.add(key)
    if (this.snapshot >= 0) return
    // A snapshot taken before a group that changes this very key could only end in a conflict.
    const pending = this.#home.commits.pendingKey(key)
    if (pending !== undefined) await pending
    this.#open()
  }

  async #observe(range: ObservedScan | ObservedList): Promise<void> {
    this.#ranges.push(range)
    if (this.snapshot >= 0) return
    const whole = range.whole()
    const pending = this.#home.commits.pending((key) => whole.contains(key))
    if (pending !== undefined) await pending
    this.#open()
  }

  #open(): void {
    if (this.snapshot < 0 && !this.#ended) this.#home.history.open(this)
  }

  #release(): void {
    this.#home.history.close(this)
  }

  #assertUsable(problem: StorageError | undefined): void {
    if (this.#ended) throw new StorageError('STORAGE_CLOSED_TRANSACTION', 'the transaction was committed or aborted')
    const closed = this.#home.closedError()
    if (closed !== undefined) throw closed
    if (problem !== undefined) throw problem
  }

  #assertUnchanged(key: string): void {
    this.#assertUsable(undefined)
    if (!this.outdated && !this.#home.history.changedSince(key, this.snapshot)) return
    this.#conflicted = true
    throw conflict(`key ${JSON.stringify(key)}`)
  }

  async #assertRangeUnchanged(range: KeySet): Promise<void> {
    if ((await this.#changesIn(range)).length > 0) this.#failRange()
  }

  async #changesIn(range: KeySet): Promise<string[]> {
    await this.#home.commits.pending((key) => range.contains(key))
    this.#assertUsable(undefined)
    if (this.outdated) this.#failRange()
    return this.#home.history.changesSince(this.snapshot, (key) => range.contains(key))
  }

  #failRange(): never {
    this.#conflicted = true
    throw conflict('a range')
  }

  /** Called in commit order, when every earlier commit is either recorded or among `groupKeys`. */
  #validate(groupKeys: ReadonlySet<string>): Error | undefined {
    const found = this.#findConflict(groupKeys)
    this.#release()
    return found
  }

  #findConflict(groupKeys: ReadonlySet<string>): Error | undefined {
    if (this.snapshot < 0) return undefined
    if (this.outdated) return conflict('the transaction, open for too many commits,')
    const { history } = this.#home
    for (const key of this.#keys) {
      if (history.changedSince(key, this.snapshot) || groupKeys.has(key)) return conflict(`key ${JSON.stringify(key)}`)
    }
    for (const range of this.#ranges) {
      const contains = (key: string) => range.contains(key)
      if (history.changesSince(this.snapshot, contains).length > 0) return conflict('a range')
      for (const key of groupKeys) if (contains(key)) return conflict('a range')
    }
    return undefined
  }
}

function conflict(what: string): StorageError {
  return new StorageError('STORAGE_CONFLICT', `${what} read by the transaction was changed by another commit`)
}
