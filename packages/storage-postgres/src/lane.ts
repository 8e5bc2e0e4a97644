import { StorageError } from '@lockstep/storage'
import { type ClientConfig, Pool, type PoolClient } from 'pg'
import { CONNECT_MS } from './client-config.ts'
import { spoilsConnection } from './postgres-error.ts'
import { hangUp, type Session, SettledClient, sessionOf } from './sessions.ts'

/** One connection out of a lane, to be given back once. */
export class Lease {
  readonly session: Session
  readonly #client: PoolClient
  readonly #patience: number
  readonly #onRelease: () => void
  #reason: StorageError | undefined
  #spoiled = false
  #released = false

  constructor(client: PoolClient, session: Session, patience: number, onRelease: () => void) {
    this.#client = client
    this.session = session
    this.#patience = patience
    this.#onRelease = onRelease
  }

  async query<Row extends unknown[]>(statement: Statement): Promise<Row[]> {
    const { rows } = await this.limited((client) => client.query<Row>({ ...statement, rowMode: 'array' }))
    return rows
  }

  /** BEGIN and the like; resolves to the command the server says it carried out. */
  async command(text: string): Promise<string> {
    return (await this.limited((client) => client.query(text))).command
  }

  /** Hangs up when `body` takes longer than the lane's patience. */
  async limited<T>(body: (client: PoolClient) => Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.hangUp(unanswered(this.#patience)), this.#patience)
    try {
      return await body(this.#client)
    } catch (error) {
      this.#spoiled ||= spoilsConnection(error)
      throw this.#reason ?? error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Fails what is under way with `reason`. */
  hangUp(reason: StorageError): void {
    if (this.#released) return
    this.#reason ??= reason
    this.#spoiled = true
    hangUp(this.#client)
  }

  /** `destroy`: its state is unknown, do not use it again. */
  release(destroy = false): void {
    if (this.#released) return
    this.#released = true
    this.#onRelease()
    const spoiled = destroy || this.#spoiled
    if (spoiled) hangUp(this.#client)
    this.#client.release(spoiled)
  }
}

export interface LaneOptions {
  /** Connections at most. */
  size: number
  /** How long the server may take to answer a statement, ms. */
  patience: number
  /** What every statement waits for first; when it rejects, the statement fails so. */
  before?(): Promise<void> | undefined
}

/** How long the server may take to close connections, ms. */
const CLOSE_MS = 1000

/** Connections set apart for one kind of work, so that kinds that hold one for long cannot starve the others. */
export class Lane {
  readonly #options: LaneOptions
  readonly #pool: Pool
  readonly #clients = new Set<PoolClient>()
  readonly #sessions = new WeakMap<PoolClient, Session>()
  readonly #leases = new Set<Lease>()

  constructor(config: ClientConfig, options: LaneOptions) {
    this.#options = options
    this.#pool = new Pool({ ...config, max: options.size, Client: SettledClient })
    // An idle connection that breaks is replaced when the next one is needed.
    this.#pool.on('error', () => {})
    this.#pool.on('connect', (client) => {
      this.#clients.add(client)
      client.once('end', () => this.#clients.delete(client))
    })
  }

  async query<Row extends unknown[]>(statement: Statement): Promise<Row[]> {
    const lease = await this.lease()
    try {
      return await lease.query<Row>(statement)
    } finally {
      lease.release()
    }
  }

  async lease(): Promise<Lease> {
    await this.#options.before?.()
    const client = await this.#pool.connect()
    const session = await this.#sessionOf(client)
    const lease = new Lease(client, session, this.#options.patience, () => this.#leases.delete(lease))
    this.#leases.add(lease)
    return lease
  }

  async #sessionOf(client: PoolClient): Promise<Session> {
    const known = this.#sessions.get(client)
    if (known !== undefined) return known
    const impatient = setTimeout(() => hangUp(client), CONNECT_MS)
    try {
      const session = await sessionOf(client)
      this.#sessions.set(client, session)
      return session
    } catch (error) {
      client.release(true)
      throw error
    } finally {
      clearTimeout(impatient)
    }
  }

  /** Fails what is under way with `reason`. */
  hangUp(reason: StorageError): void {
    for (const lease of this.#leases) lease.hangUp(reason)
  }

  /** Takes back what is still leased. */
  async close(): Promise<void> {
    for (const lease of this.#leases) lease.release(true)
    const impatient = setTimeout(() => {
      for (const client of this.#clients) hangUp(client)
    }, CLOSE_MS)
    await this.#pool.end()
    clearTimeout(impatient)
  }
}

export interface Statement {
  /** Prepared once per connection under this name. */
  name: string
  text: string
  values: unknown[]
}

function unanswered(patience: number): StorageError {
  return new StorageError('STORAGE_UNAVAILABLE', `PostgreSQL has not answered for ${patience / 1000} seconds`)
}
