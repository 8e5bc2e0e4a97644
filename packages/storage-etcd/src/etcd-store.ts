import {
  type Entry,
  invalidKey,
  invalidListPrefix,
  type Leadership,
  type ListOptions,
  ReadQueue,
  type ScanRange,
  StorageError,
  type Store,
  type StoreLimits,
  type Transaction,
  type WriteOperation,
} from '@lockstep/storage'
import { MAX_COMMIT_BYTES } from './commit-plan.ts'
import { Committer } from './committer.ts'
import { type EtcdConnection, parsePrefix } from './connection.ts'
import { EtcdClient } from './etcd-client.ts'
import { etcdError } from './etcd-error.ts'
import { EtcdTransaction, type TransactionHome } from './etcd-transaction.ts'
import { fenceOf } from './fence.ts'
import { type Keyspace, keyspace, MAX_VALUE_BYTES } from './keyspace.ts'
import { SnapshotReads } from './snapshot-reads.ts'

/** etcd's default --max-request-bytes. */
const MAX_REQUEST_BYTES = 1.5 * 1024 * 1024
const LEAST_REQUEST_BYTES = 256 * 1024
/** Point reads under way at most; others share the next turn. */
const READ_JOBS = 4

export interface EtcdStoreOptions extends EtcdConnection {
  /** What all keys begin with; a "/" is added at its end when missing. Default "/lockstep/". */
  prefix?: string
  /**
   * A leadership of `etcdLeaderLock` with the same cluster. Every write then compares, inside its Txn, that the
   * leadership still holds, and is rejected with `STORAGE_NOT_LEADER` otherwise.
   */
  fencedBy?: Leadership
  /** The servers' --max-request-bytes; no more than 16 MiB of it are used. Default 1.5 MiB, as theirs. */
  maxRequestBytes?: number
}

/**
 * Opens a store in etcd (3.4 or later), which other processes may use at the same time. Rejects with
 * `STORAGE_UNAVAILABLE` or `STORAGE_NEWER_FORMAT`. When a commit is rejected with `STORAGE_UNAVAILABLE` its answer may
 * have been lost: read to find out whether it happened. Once a read shows it did not, it never will.
 */
export async function etcdStore(options: EtcdStoreOptions): Promise<Store> {
  const store = new EtcdStore(options)
  try {
    await store.committer.open()
    return store
  } catch (error) {
    await store.close()
    throw etcdError(error)
  }
}

class EtcdStore implements Store, TransactionHome {
  readonly limits: StoreLimits
  readonly keys: Keyspace
  readonly reads: SnapshotReads
  readonly committer: Committer
  readonly #client: EtcdClient
  readonly #queue: ReadQueue
  readonly #underWay = new Set<Promise<void>>()
  #closing: Promise<void> | undefined

  constructor(options: EtcdStoreOptions) {
    const maxRequestBytes = options.maxRequestBytes ?? MAX_REQUEST_BYTES
    if (!(maxRequestBytes >= LEAST_REQUEST_BYTES)) {
      throw new TypeError(`expected maxRequestBytes of at least ${LEAST_REQUEST_BYTES}`)
    }
    const fence = options.fencedBy === undefined ? undefined : fenceOf(options.fencedBy)
    this.keys = keyspace(parsePrefix(options.prefix))
    this.#client = new EtcdClient(options)
    this.reads = new SnapshotReads(this.#client, this.keys)
    this.committer = new Committer(this.#client, this.keys, { fence, maxRequestBytes })
    this.limits = { valueBytes: MAX_VALUE_BYTES, commitBytes: MAX_COMMIT_BYTES, groupBytes: this.committer.room }
    this.#queue = new ReadQueue(
      {
        get: (key) => this.#read(async () => (await this.reads.get(key, 0)).value),
        getMany: (keys) => this.getMany(keys),
      },
      { jobs: READ_JOBS },
    )
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#assertOpen(invalidKey(key))
    return this.#queue.get(key)
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    this.#assertOpen(undefined)
    for (const key of keys) this.#assertOpen(invalidKey(key))
    return this.#read(async () => (await this.reads.getMany(keys, 0)).values)
  }

  async list(prefix: string, options: ListOptions = {}): Promise<string[]> {
    this.#assertOpen(invalidListPrefix(prefix))
    return this.#read(() => this.reads.list(prefix, options, 0))
  }

  async *scan(range: ScanRange = {}): AsyncGenerator<Entry> {
    this.#assertOpen(undefined)
    const entries = this.reads.scan(range, 0)
    for (;;) {
      const step = await this.#read(() => entries.next())
      if (step.done) return
      yield step.value
      this.#assertOpen(undefined)
    }
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    this.#assertOpen(invalidKey(key))
    if (!(value instanceof Uint8Array)) throw new TypeError('expected a value that is a Uint8Array')
    await this.#write({ type: 'put', key, value })
  }

  async delete(key: string): Promise<void> {
    this.#assertOpen(invalidKey(key))
    await this.#write({ type: 'delete', key })
  }

  async begin(): Promise<Transaction> {
    this.#assertOpen(undefined)
    return new EtcdTransaction(this)
  }

  close(): Promise<void> {
    this.#closing ??= Promise.allSettled(this.#underWay).then(() => this.#client.close())
    return this.#closing
  }

  async track(commit: Promise<void>): Promise<void> {
    this.#underWay.add(commit)
    try {
      await commit
    } catch (error) {
      throw etcdError(error)
    } finally {
      this.#underWay.delete(commit)
    }
  }

  closedError(): StorageError | undefined {
    return this.#closing === undefined ? undefined : new StorageError('STORAGE_CLOSED', 'the store is closed')
  }

  #write(operation: WriteOperation): Promise<void> {
    return this.track(this.committer.commit([operation]))
  }

  async #read<T>(read: () => Promise<T>): Promise<T> {
    try {
      await this.committer.settled()
      return await read()
    } catch (error) {
      throw this.closedError() ?? etcdError(error)
    }
  }

  #assertOpen(problem: StorageError | undefined): void {
    const failure = this.closedError() ?? problem
    if (failure !== undefined) throw failure
  }
}
