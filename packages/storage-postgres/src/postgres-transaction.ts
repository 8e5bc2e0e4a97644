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
  type WriteOperation,
} from '@lockstep/storage'
import { getOne, getSeveral, listChildren, type Run, scanPages } from './committed-reads.ts'
import type { Fence } from './fence.ts'
import { notLeader } from './fence.ts'
import type { Lane, Lease, Statement } from './lane.ts'
import { assertFits } from './limits.ts'
import { postgresError } from './postgres-error.ts'
import type { Statements } from './statements.ts'

/** What a transaction needs of its store. */
export interface TransactionHome {
  readonly statements: Statements
  readonly fence: Fence | undefined
  /** Connections whose transactions are serializable. */
  readonly transactions: Lane
  closedError(): StorageError | undefined
  /** Commits writes of keys that were not read. */
  writeBlind(operations: readonly WriteOperation[]): Promise<void>
  /** A write sent over the lease failed so: notes it when it may have happened, or may still happen. */
  doubt(lease: Lease, error: unknown): void
  /** Lets `close` wait for it. */
  track(commit: Promise<void>): Promise<void>
}

/**
 * A serializable transaction of PostgreSQL, begun at the first read. Writes stay here until commit, so no row is locked
 * longer than the commit takes.
 */
export class PostgresTransaction implements Transaction {
  readonly #home: TransactionHome
  readonly #writes = new WriteBuffer()
  #lease: Promise<Lease> | undefined
  #turn: Promise<unknown> = Promise.resolve()
  #failure: StorageError | undefined
  #ended = false

  constructor(home: TransactionHome) {
    this.#home = home
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#assertUsable(invalidKey(key))
    if (this.#writes.has(key)) return this.#writes.get(key)
    return getOne(this.#run, this.#home.statements, key)
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    for (const key of keys) this.#assertUsable(invalidKey(key))
    this.#assertUsable(undefined)
    const missing = keys.filter((key) => !this.#writes.has(key))
    const values = await getSeveral(this.#run, this.#home.statements, missing)
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
    if (this.#failure !== undefined) {
      await this.#rollback()
      throw this.#failure
    }
    await this.#home.track(this.#commit())
  }

  async abort(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    await this.#rollback()
  }

  readonly #below: BufferedSource = {
    list: (prefix, options) => listChildren(this.#run, this.#home.statements, prefix, options),
    scan: (range) => scanPages(this.#run, this.#home.statements, range),
  }

  async #commit(): Promise<void> {
    const operations = this.#writes.operations()
    if (this.#lease === undefined) {
      if (operations.length > 0) await this.#home.writeBlind(operations)
      return
    }
    const { statements, fence } = this.#home
    let lease: Lease | undefined
    try {
      lease = await this.#lease
      await this.#turn
      if (operations.length > 0) {
        assertFits(operations)
        if (fence?.lost) throw notLeader()
        const [row] = await lease.query<[number]>(statements.apply(operations, fence))
        if (row?.[0] !== 1) throw notLeader()
      }
      await this.#end(lease)
      lease.release()
    } catch (error) {
      await endTransaction(lease)
      throw this.#home.closedError() && lease === undefined ? this.#home.closedError() : postgresError(error)
    }
  }

  async #end(lease: Lease): Promise<void> {
    try {
      const command = await lease.command('COMMIT')
      // A transaction that failed before ends so, without an error.
      if (command !== 'COMMIT') {
        throw new StorageError('STORAGE_CONFLICT', 'the transaction had failed before its commit')
      }
    } catch (error) {
      if (this.#writes.size > 0) this.#home.doubt(lease, error)
      throw error
    }
  }

  async #rollback(): Promise<void> {
    if (this.#lease === undefined) return
    const lease = await this.#lease.catch(() => undefined)
    await this.#turn
    await endTransaction(lease)
  }

  /** One statement after the other: a connection takes no second one before the first has its answer. */
  readonly #run: Run = async <Row extends unknown[]>(statement: Statement): Promise<Row[]> => {
    const result = this.#turn.then(async () => {
      // Inside the turn: an abort or commit meanwhile must not start a transaction that nobody ends.
      this.#assertUsable(undefined)
      if (this.#failure !== undefined) throw this.#failure
      this.#lease ??= this.#begin()
      return (await this.#lease).query<Row>(statement)
    })
    this.#turn = result.catch(() => undefined)
    try {
      const rows = await result
      this.#assertUsable(undefined)
      return rows
    } catch (error) {
      this.#assertUsable(undefined)
      this.#failure ??= postgresError(error)
      throw this.#failure
    }
  }

  async #begin(): Promise<Lease> {
    const lease = await this.#home.transactions.lease()
    try {
      await lease.command('BEGIN')
      return lease
    } catch (error) {
      lease.release(true)
      throw error
    }
  }

  #assertUsable(problem: StorageError | undefined): void {
    if (this.#ended) throw new StorageError('STORAGE_CLOSED_TRANSACTION', 'the transaction was committed or aborted')
    const closed = this.#home.closedError()
    if (closed !== undefined) throw closed
    if (problem !== undefined) throw problem
  }
}

async function endTransaction(lease: Lease | undefined): Promise<void> {
  if (lease === undefined) return
  try {
    await lease.command('ROLLBACK')
    lease.release()
  } catch {
    lease.release(true)
  }
}
