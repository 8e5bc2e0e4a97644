import { type LeaderLock, type Leadership, StorageError } from '@lockstep/storage'
import { Client } from 'pg'
import { clientConfig } from './client-config.ts'
import type { PostgresConnection } from './connection.ts'
import { registerFence } from './fence.ts'
import { Lane } from './lane.ts'
import { advisoryKey, type Names, namesOf } from './names.ts'
import { postgresError } from './postgres-error.ts'
import { ensureSchema } from './schema.ts'

export interface PostgresLeaderLockOptions {
  /** A `postgres://` URL, or its parts. Must reach the server itself or a pooler in session mode. */
  connection: string | PostgresConnection
  /** As of `postgresStore`. Default "lockstep". */
  table?: string
  /** Tells apart several locks of one table. Default "leader". */
  name?: string
  /**
   * How often the leader checks its connection, milliseconds; no answer for three times as long counts as lost. A leader that sent
   * nothing for five times as long, and a second at least, loses the lock to a waiting node. Default 1000; the same on every node.
   */
  heartbeat?: number
}

export interface PostgresLeaderLock extends LeaderLock {
  /** Closes the connection `holder` uses. A leadership goes on until it is released or lost. */
  close(): Promise<void>
}

/**
 * A lock that lives as long as its holder's connection (a session advisory lock). `acquire` rejects with
 * `STORAGE_UNAVAILABLE` when the connection fails; call it again. Standbys take over at once when the leader releases
 * or its process dies, and within about 6 seconds when it is silent: stopped, cut off, or its machine gone.
 */
export function postgresLeaderLock(options: PostgresLeaderLockOptions): PostgresLeaderLock {
  return new AdvisoryLock(options)
}

const HEARTBEAT_MS = 1000
/** The leader gives up after three beats without an answer; this is later. */
const SILENT_BEATS = 5
const SHORTEST_SILENCE_MS = 1000

class AdvisoryLock implements PostgresLeaderLock {
  readonly #options: PostgresLeaderLockOptions
  readonly #names: Names
  readonly #name: string
  readonly #key: bigint
  readonly #lane: Lane
  #schema: Promise<void> | undefined

  constructor(options: PostgresLeaderLockOptions) {
    this.#options = options
    this.#names = namesOf(options.table)
    this.#name = options.name ?? 'leader'
    this.#key = advisoryKey('lockstep leader', this.#names.entries, this.#name)
    this.#lane = new Lane({ ...clientConfig(options.connection), ...{ allowExitOnIdle: true } }, 1)
  }

  async acquire(signal?: AbortSignal): Promise<Leadership> {
    signal?.throwIfAborted()
    const client = new Client(clientConfig(this.#options.connection, { lock_timeout: '1s' }))
    // What breaks the connection also fails the query under way.
    client.on('error', () => {})
    try {
      await this.#ensureSchema()
      await client.connect()
      await this.#wait(client, signal)
      const token = await this.#newToken(client, signal)
      signal?.throwIfAborted()
      const leadership = new AdvisoryLeadership(client, token, {
        names: this.#names,
        name: this.#name,
        key: this.#key,
        heartbeat: this.#heartbeat,
      })
      registerFence(leadership, this.#names, this.#name)
      return leadership
    } catch (error) {
      await client.end().catch(() => {})
      signal?.throwIfAborted()
      throw postgresError(error)
    }
  }

  async holder(): Promise<string | undefined> {
    try {
      await this.#ensureSchema()
      // The row outlives its leader, the lock does not.
      const [row] = await this.#lane.query<[string | null]>({
        name: `holder ${this.#names.leaders}`,
        text: `SELECT l.value FROM ${this.#names.leaders} l JOIN pg_locks k ON k.pid = l.pid
          WHERE l.name = $1 AND ${isHeld('$2')}`,
        values: [this.#name, this.#key],
      })
      return row?.[0] ?? undefined
    } catch (error) {
      throw postgresError(error)
    }
  }

  async close(): Promise<void> {
    await this.#lane.close()
  }

  /** Asks again each second, so that a waiter that gave up does not stay in the server's queue. */
  async #wait(client: Client, signal: AbortSignal | undefined): Promise<void> {
    let stop = () => {}
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(signal?.reason)
    })
    aborted.catch(() => {})
    // It may have been aborted while connecting, which a listener would not hear of.
    signal?.throwIfAborted()
    signal?.addEventListener('abort', stop, { once: true })
    try {
      for (;;) {
        const attempt = client.query('SELECT pg_advisory_lock($1)', [this.#key])
        attempt.catch(() => {})
        if (await inTime(Promise.race([attempt, aborted]))) return
        await this.#hangUpOn(client, isHeld('$2'), 'idle', this.#key)
      }
    } finally {
      signal?.removeEventListener('abort', stop)
    }
  }

  async #newToken(client: Client, signal: AbortSignal | undefined): Promise<bigint> {
    for (;;) {
      signal?.throwIfAborted()
      // Waits here for fenced writes of the leader before, which share-lock the row.
      const attempt = client.query<{ token: string }>(
        `INSERT INTO ${this.#names.leaders} AS l (name, token, pid) VALUES ($1, 1, pg_backend_pid())
         ON CONFLICT (name) DO UPDATE SET token = l.token + 1, pid = excluded.pid, value = NULL
         RETURNING token`,
        [this.#name],
      )
      if (await inTime(attempt)) return BigInt((await attempt).rows[0]!.token)
      // Its lock is gone, so a write it does not go on with must not be committed.
      const writes = "k.locktype = 'relation' AND k.relation = $2::regclass"
      await this.#hangUpOn(client, writes, 'idle in transaction', this.#names.leaders)
    }
  }

  /** Ends the sessions that hold such a lock and have been in this state for long: whoever is at the other end is stopped or cut off. */
  async #hangUpOn(client: Client, locks: string, state: string, value: unknown): Promise<void> {
    const silence = Math.max(SILENT_BEATS * this.#heartbeat, SHORTEST_SILENCE_MS)
    await client.query(
      `SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN pg_locks k ON k.pid = a.pid
       WHERE ${locks} AND a.pid <> pg_backend_pid() AND a.usename = current_user AND a.state = $3
         AND a.state_change < clock_timestamp() - $1 * interval '1 millisecond'`,
      [silence, value, state],
    )
  }

  get #heartbeat(): number {
    return this.#options.heartbeat ?? HEARTBEAT_MS
  }

  async #ensureSchema(): Promise<void> {
    this.#schema ??= this.#createSchema()
    await this.#schema
  }

  async #createSchema(): Promise<void> {
    const lease = await this.#lane.lease().catch((error: unknown) => {
      this.#schema = undefined
      throw error
    })
    try {
      await ensureSchema(lease.client, this.#names)
      lease.release()
    } catch (error) {
      this.#schema = undefined
      lease.release(true)
      throw error
    }
  }
}

interface LeadershipDetails {
  names: Names
  name: string
  key: bigint
  heartbeat: number
}

class AdvisoryLeadership implements Leadership {
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
    await this.#turn
    await this.#client.query('SELECT pg_advisory_unlock($1)', [this.#details.key]).catch(() => {})
    await this.#client.end().catch(() => {})
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
    const patience = setTimeout(() => this.#drop(), this.#details.heartbeat * 3).unref()
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
    ;(this.#client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    clearInterval(this.#timer)
    this.#resolveLost()
  }
}

/** Condition on `pg_locks k`: the session lock of this key. A bigint key is shown as two halves, and objsubid 1. */
function isHeld(key: string): string {
  return `k.locktype = 'advisory' AND k.granted AND k.objsubid = 1
    AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND k.classid::bigint = ((${key}::bigint >> 32) & 4294967295) AND k.objid::bigint = (${key}::bigint & 4294967295)`
}

/** False when `lock_timeout` ended it. */
async function inTime(query: Promise<unknown>): Promise<boolean> {
  try {
    await query
    return true
  } catch (error) {
    if ((error as { code?: unknown } | undefined)?.code !== '55P03') throw error
    return false
  }
}

function notHeld(): StorageError {
  return new StorageError('STORAGE_NOT_LEADER', 'the leadership has ended')
}
