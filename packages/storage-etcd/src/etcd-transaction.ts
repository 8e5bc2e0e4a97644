import {
  type BufferedSource,
  type Entry,
  invalidKey,
  invalidListPrefix,
  type ListOptions,
  type ScanRange,
  StorageError,
  type Transaction,
  WriteBuffer,
} from '@lockstep/storage'
import { type Committer, MAX_READ_COMPARES } from './committer.ts'
import { etcdError, isCompacted } from './etcd-error.ts'
import type { Keyspace } from './keyspace.ts'
import { ReadSet } from './read-set.ts'
import type { SnapshotReads } from './snapshot-reads.ts'

/** What a transaction needs of its store. */
export interface TransactionHome {
  readonly keys: Keyspace
  readonly reads: SnapshotReads
  readonly committer: Committer
  closedError(): StorageError | undefined
  /** Lets `close` wait for it. */
  track(commit: Promise<void>): Promise<void>
}

/** Reads at the revision of its first read; its commit is one Txn that compares that all of it still holds. */
export class EtcdTransaction implements Transaction {
  readonly #home: TransactionHome
  readonly #writes = new WriteBuffer()
  readonly #readSet: ReadSet
  #revision: Promise<number> | undefined
  #pinned = 0
  #failure: StorageError | undefined
  #ended = false

  constructor(home: TransactionHome) {
    this.#home = home
    this.#readSet = new ReadSet(home.keys)
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#assertUsable(invalidKey(key))
    if (this.#writes.has(key)) return this.#writes.get(key)
    return (await this.#first((revision) => this.#home.reads.get(key, revision, this.#readSet.points))).value
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    for (const key of keys) this.#assertUsable(invalidKey(key))
    this.#assertUsable(undefined)
    const missing = keys.filter((key) => !this.#writes.has(key))
    if (missing.length === 0) return keys.map((key) => this.#writes.get(key))
    const { values } = await this.#first((revision) =>
      this.#home.reads.getMany(missing, revision, this.#readSet.points),
    )
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
    if (!(value instanceof Uint8Array)) throw new TypeError('expected a value that is a Uint8Array')
    this.#writes.put(key, value)
  }

  async delete(key: string): Promise<void> {
    this.#assertUsable(invalidKey(key))
    this.#writes.delete(key)
  }

  async commit(): Promise<void> {
    this.#assertUsable(undefined)
    this.#ended = true
    if (this.#failure !== undefined) throw this.#failure
    // What was only read was read at one revision, which is as good a place in the order as any.
    if (this.#writes.size === 0) return
    const reads = this.#pinned === 0 ? [] : this.#readSet.compares(this.#pinned, MAX_READ_COMPARES)
    await this.#home.track(this.#home.committer.commit(this.#writes.operations(), reads))
  }

  async abort(): Promise<void> {
    this.#ended = true
  }

  readonly #below: BufferedSource = {
    list: async (prefix, options) => {
      const observed = this.#readSet.list(prefix, options)
      const names = await this.#at((revision) => this.#home.reads.list(prefix, options, revision, observed.entries))
      const last = names.at(-1)
      if (names.length !== options.limit) observed.complete()
      else if (last !== undefined) observed.endAt(prefix, last)
      return names
    },
    scan: (range) => this.#scan(range),
  }

  async *#scan(range: ScanRange): AsyncGenerator<Entry> {
    const observed = this.#readSet.scan(range)
    const revision = await this.#at(async (at) => at)
    const entries = this.#home.reads.scan(range, revision, observed.entries)
    let count = 0
    for (;;) {
      const step = await this.#at(() => entries.next())
      if (step.done) break
      observed.reached(step.value[0])
      count++
      yield step.value
    }
    if (count !== range.limit) observed.complete()
  }

  /** Runs a read that tells the revision it was made at; the first of all is made at the newest. */
  async #first<T extends { revision: number }>(read: (revision: number) => Promise<T>): Promise<T> {
    if (this.#revision !== undefined) return this.#at(read)
    const first = this.#guarded(async () => {
      await this.#home.committer.settled()
      return read(0)
    })
    this.#pin(first.then(({ revision }) => revision))
    return first
  }

  async #at<T>(read: (revision: number) => Promise<T>): Promise<T> {
    if (this.#revision === undefined) {
      this.#pin(
        this.#guarded(async () => {
          await this.#home.committer.settled()
          return this.#home.reads.newest()
        }),
      )
    }
    const revision = await this.#revision!
    return this.#guarded(() => read(revision))
  }

  #pin(revision: Promise<number>): void {
    this.#revision = revision
    revision.then(
      (pinned) => {
        this.#pinned = pinned
      },
      () => {},
    )
  }

  async #guarded<T>(read: () => Promise<T>): Promise<T> {
    this.#assertUsable(undefined)
    if (this.#failure !== undefined) throw this.#failure
    try {
      const result = await read()
      this.#assertUsable(undefined)
      return result
    } catch (error) {
      this.#assertUsable(undefined)
      this.#failure ??= isCompacted(error)
        ? new StorageError('STORAGE_CONFLICT', 'etcd has compacted the revision the transaction reads', {
            cause: error,
          })
        : etcdError(error)
      throw this.#failure
    }
  }

  #assertUsable(problem: StorageError | undefined): void {
    if (this.#ended) throw new StorageError('STORAGE_CLOSED_TRANSACTION', 'the transaction was committed or aborted')
    const closed = this.#home.closedError()
    if (closed !== undefined) throw closed
    if (problem !== undefined) throw problem
  }
}
