import { type Leadership, StorageError } from '@lockstep/storage'
import type { Client } from 'pg'
import type { Names } from './names.ts'
import { postgresError } from './postgres-error.ts'
import { hangUp } from './sessions.ts'

/** How many heartbeats may go unanswered before a leader gives itself up. */
const SILENT_HEARTBEATS = 3

export interface LeadershipDetails {
  names: Names
  name: string
  /** Of the advisory lock. */
  key: bigint
  /** ms */
  heartbeat: number
}

/** Lasts as long as the session that holds the lock. */
export class AdvisoryLeadership implements Leadership {
  readonly fencingToken: bigint
  readonly lost: Promise<void>
  readonly #client: Client
  readonly #details: LeadershipDetails
  readonly #timer: NodeJS.Timeout
  #turn: Promise<unknown> = Promise.resolve()
  #ended = false
  #resolveLost!: () => void

  constructor(client: Client, token: bigint, details: LeadershipDetails) {
    this.fencingToken = token
    this.#client = client
    this.#details = details
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve
    })
    client.on('error', () => this.#end())
    client.on('end', () => this.#end())
    this.#timer = setInterval(() => void this.#check(), details.heartbeat).unref()
  }

  async publish(value: string): Promise<void> {
    const { names, name } = this.#details
    const updated = await this.#query(`UPDATE ${names.leaders} SET value = $3 WHERE name = $1 AND token = $2`, [
      name,
      this.fencingToken,
      value,
    ])
    if (updated !== 1) throw notHeld()
  }

  async release(): Promise<void> {
    if (this.#ended) return
    // In this order: once the lock is free this node must not believe that it leads.
    this.#end()
    // A server that is gone lets the lock go when it notices.
    const impatient = setTimeout(() => hangUp(this.#client), this.#patience)
    await this.#turn
    await this.#client.query('SELECT pg_advisory_unlock($1)', [this.#details.key]).catch(() => {})
    await this.#client.end().catch(() => {})
    clearTimeout(impatient)
  }

  get #patience(): number {
    return this.#details.heartbeat * SILENT_HEARTBEATS
  }

  /** One query at a time; resolves to the number of rows. */
  async #query(text: string, values: unknown[]): Promise<number | null> {
    const result = this.#turn.then(async () => {
      if (this.#ended) throw notHeld()
      return (await this.#client.query(text, values)).rowCount
    })
    this.#turn = result.catch(() => undefined)
    try {
      return await result
    } catch (error) {
      throw postgresError(error)
    }
  }

  async #check(): Promise<void> {
    if (this.#ended) return
    const patience = setTimeout(() => this.#drop(), this.#patience).unref()
    try {
      await this.#query('SELECT 1', [])
    } catch {
      this.#drop()
    } finally {
      clearTimeout(patience)
    }
  }

  /** The server does not answer: stop leading, and hang up so that it lets the lock go. */
  #drop(): void {
    if (this.#ended) return
    this.#end()
    hangUp(this.#client)
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    clearInterval(this.#timer)
    this.#resolveLost()
  }
}

function notHeld(): StorageError {
  return new StorageError('STORAGE_NOT_LEADER', 'the leadership has ended')
}
