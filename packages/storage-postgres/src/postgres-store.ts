import { setTimeout as sleep } from 'node:timers/promises'
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
  type Transaction,
  type WriteOperation,
} from '@lockstep/storage'
import { clientConfig } from './client-config.ts'
import { FIRST_PAGE, getOne, getSeveral, listChildren, listPage, type Run, scanPages } from './committed-reads.ts'
import type { PostgresConnection } from './connection.ts'
import { type Fence, fenceOf, notLeader } from './fence.ts'
import { Lane, type Lease } from './lane.ts'
import { assertFits, LIMITS } from './limits.ts'
import { LostAnswers } from './lost-answers.ts'
import { namesOf } from './names.ts'
import { isConflict, isInDoubt, postgresError } from './postgres-error.ts'
import { PostgresTransaction, type TransactionHome } from './postgres-transaction.ts'
import { ensureSchema } from './schema.ts'
import { Statements } from './statements.ts'

/** How often a write that read nothing is tried again when PostgreSQL refuses it for its neighbours' sake. */
const BLIND_ATTEMPTS = 100

export interface PostgresStoreOptions {
  /** A `postgres://` URL, or its parts. */
  connection: string | PostgresConnection
  /** Names the tables: `table`, `table_meta`, `table_leaders`. Created when missing. Default "lockstep". */
  table?: string
  /** Connections at most, at least 4. Default 8: a quarter for point reads, a quarter for scans, half for transactions. */
  maxConnections?: number
  /**
   * A leadership of `postgresLeaderLock` with the same database. Every write then checks, inside its transaction, that
   * the leadership still holds, and is rejected with `STORAGE_NOT_LEADER` otherwise.
   */
  fencedBy?: Leadership
  /**
   * How long the server may take to answer a statement, ms, before the connection is given up and the call rejected with
   * `STORAGE_UNAVAILABLE`. Default 30,000: longer than a disk stalls, shorter than TCP waits for a network that is gone.
   */
  patience?: number
}

const PATIENCE_MS = 30_000

/**
 * Opens a store in a PostgreSQL database, which other processes may use at the same time. Rejects with
 * `STORAGE_UNAVAILABLE` or `STORAGE_NEWER_FORMAT`. When a commit is rejected with `STORAGE_UNAVAILABLE` it may have happened, or may
 * not: a read tells which, for good.
 */
export async function postgresStore(options: PostgresStoreOptions): Promise<Store> {
  const store = new PostgresStore(options)
  try {
    await store.open()
    return store
  } catch (error) {
    await store.close()
    throw postgresError(error)
  }
}

class PostgresStore implements Store, TransactionHome {
  readonly limits = LIMITS
  readonly statements: Statements
  readonly fence: Fence | undefined
  readonly transactions: Lane
  readonly #points: Lane
  readonly #scans: Lane
  readonly #reads: ReadQueue
  readonly #table: string | undefined
  readonly #underWay = new Set<Promise<void>>()
  readonly #lostAnswers: LostAnswers
  #closing: Promise<void> | undefined

  constructor(options: PostgresStoreOptions) {
    const total = options.maxConnections ?? 8
    if (!Number.isInteger(total) || total < 4) throw new TypeError('expected maxConnections of at least 4')
    this.fence = options.fencedBy === undefined ? undefined : fenceOf(options.fencedBy)
    this.statements = new Statements(namesOf(options.table), this.fence)
    this.#table = options.table
    const quarter = Math.floor(total / 4)
    const config = clientConfig(options.connection)
    const patience = options.patience ?? PATIENCE_MS
    this.#lostAnswers = new LostAnswers(config, patience)
    const common = { patience, before: this.#lostAnswers.settled }
    this.#points = new Lane(config, { ...common, size: quarter })
    this.#scans = new Lane(config, { ...common, size: quarter })
    this.transactions = new Lane(clientConfig(options.connection, { default_transaction_isolation: 'serializable' }), {
      ...common,
      size: total - 2 * quarter,
    })
    // Whoever waits for a write of a leader that is none any more waits for nothing.
    void options.fencedBy?.lost.then(() => this.transactions.hangUp(endedMeanwhile()))
    this.#reads = new ReadQueue(
      {
        get: (key) => getOne(this.#runPoint, this.statements, key),
        getMany: (keys) => this.#getMany(keys),
      },
      { jobs: quarter },
    )
  }

  async open(): Promise<void> {
    const lease = await this.#points.lease()
    try {
      await lease.limited((client) => ensureSchema(client, namesOf(this.#table)))
    } finally {
      lease.release()
    }
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#assertOpen(invalidKey(key))
    return this.#reads.get(key)
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    this.#assertOpen(undefined)
    for (const key of keys) this.#assertOpen(invalidKey(key))
    return this.#getMany(keys)
  }

  async list(prefix: string, options: ListOptions = {}): Promise<string[]> {
    this.#assertOpen(invalidListPrefix(prefix))
    const first = await listPage(this.#runPoint, this.statements, prefix, options)
    if (first.next === undefined) return first.names
    // Page after page would not be of one state.
    let lease: Lease | undefined
    try {
      lease = await this.#beginSnapshot()
      return await listChildren((statement) => lease!.query(statement), this.statements, prefix, options)
    } catch (error) {
      throw this.#failure(error)
    } finally {
      await endSnapshot(lease)
    }
  }

  async *scan(range: ScanRange = {}): AsyncGenerator<Entry> {
    this.#assertOpen(undefined)
    if (range.limit !== undefined && range.limit <= FIRST_PAGE) {
      yield* scanPages(this.#runPoint, this.statements, range)
      return
    }
    let lease: Lease | undefined
    try {
      lease = await this.#beginSnapshot()
      for await (const entry of scanPages((statement) => lease!.query(statement), this.statements, range)) {
        yield entry
        this.#assertOpen(undefined)
      }
    } catch (error) {
      throw this.#failure(error)
    } finally {
      await endSnapshot(lease)
    }
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    this.#assertOpen(invalidKey(key))
    if (!(value instanceof Uint8Array)) throw new TypeError('expected a value that is a Uint8Array')
    await this.track(this.writeBlind([{ type: 'put', key, value }]))
  }

  async delete(key: string): Promise<void> {
    this.#assertOpen(invalidKey(key))
    await this.track(this.writeBlind([{ type: 'delete', key }]))
  }

  async begin(): Promise<Transaction> {
    this.#assertOpen(undefined)
    return new PostgresTransaction(this)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async writeBlind(operations: readonly WriteOperation[]): Promise<void> {
    assertFits(operations)
    const statement = this.statements.apply(operations, this.fence)
    for (let attempt = 1; ; attempt++) {
      if (this.fence?.lost) throw notLeader()
      try {
        const lease = await this.transactions.lease()
        try {
          // Waiting for a connection can take a while.
          if (this.fence?.lost) throw notLeader()
          const [row] = await lease.query<[number]>(statement)
          if (row?.[0] !== 1) throw notLeader()
          return
        } catch (error) {
          this.doubt(lease, error)
          throw error
        } finally {
          lease.release()
        }
      } catch (error) {
        const failure = postgresError(error)
        if (!isConflict(failure) || attempt >= BLIND_ATTEMPTS) throw failure
        await sleep(Math.random() * Math.min(2 ** attempt, 32))
      }
    }
  }

  async track(commit: Promise<void>): Promise<void> {
    this.#underWay.add(commit)
    try {
      await commit
    } finally {
      this.#underWay.delete(commit)
    }
  }

  doubt(lease: Lease, error: unknown): void {
    if (isInDoubt(error)) this.#lostAnswers.add(lease.session)
  }

  closedError(): StorageError | undefined {
    return this.#closing === undefined ? undefined : new StorageError('STORAGE_CLOSED', 'the store is closed')
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#underWay)
    await Promise.all([this.#points, this.#scans, this.transactions, this.#lostAnswers].map((one) => one.close()))
  }

  async #beginSnapshot(): Promise<Lease> {
    const lease = await this.#scans.lease()
    try {
      await lease.command('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      return lease
    } catch (error) {
      lease.release(true)
      throw error
    }
  }

  #getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return getSeveral(this.#runPoint, this.statements, keys)
  }

  readonly #runPoint: Run = async (statement) => {
    try {
      return await this.#points.query(statement)
    } catch (error) {
      throw this.#failure(error)
    }
  }

  #failure(error: unknown): StorageError {
    return this.closedError() ?? postgresError(error)
  }

  #assertOpen(problem: StorageError | undefined): void {
    const failure = this.closedError() ?? problem
    if (failure !== undefined) throw failure
  }
}

async function endSnapshot(lease: Lease | undefined): Promise<void> {
  if (lease === undefined) return
  try {
    await lease.command('COMMIT')
    lease.release()
  } catch {
    lease.release(true)
  }
}

function endedMeanwhile(): StorageError {
  const text = 'the leadership ended before PostgreSQL answered; whether it was written is not known'
  return new StorageError('STORAGE_UNAVAILABLE', text)
}
