import type { LeaderLock, Leadership } from '@lockstep/storage'
import { clientConfig } from './client-config.ts'
import type { PostgresConnection } from './connection.ts'
import { registerFence } from './fence.ts'
import { Lane } from './lane.ts'
import { advisoryKey, type Names, namesOf } from './names.ts'
import { postgresError } from './postgres-error.ts'
import { AdvisoryLeadership } from './postgres-leadership.ts'
import { ensureSchema } from './schema.ts'
import { hangUp, SettledClient } from './sessions.ts'

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
/** How long a waiter stays in the server's queue before it asks again, ms. */
const QUEUE_MS = 1000
/** How long the server may take to answer what takes no time, ms. */
const PATIENCE_MS = 5000
const LOCK_NOT_AVAILABLE = '55P03'

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
    this.#lane = new Lane(
      { ...clientConfig(options.connection), ...{ allowExitOnIdle: true } },
      { size: 1, patience: PATIENCE_MS },
    )
  }

  async acquire(signal?: AbortSignal): Promise<Leadership> {
    signal?.throwIfAborted()
    const client = new SettledClient(clientConfig(this.#options.connection, { lock_timeout: `${QUEUE_MS}ms` }))
    const stop = () => hangUp(client)
    try {
      await this.#ensureSchema()
      await client.connect()
      // It may have been aborted meanwhile, which a listener would not hear of.
      signal?.throwIfAborted()
      signal?.addEventListener('abort', stop, { once: true })
      const leadership = await this.#takeOver(client)
      signal?.throwIfAborted()
      registerFence(leadership, this.#names, this.#name)
      return leadership
    } catch (error) {
      hangUp(client)
      signal?.throwIfAborted()
      throw postgresError(error)
    } finally {
      signal?.removeEventListener('abort', stop)
    }
  }

  async #takeOver(client: SettledClient): Promise<AdvisoryLeadership> {
    await queued(
      client,
      () => client.query('SELECT pg_advisory_lock($1)', [this.#key]),
      () => this.#hangUpOn(client, isHeld('$2'), 'idle', this.#key),
    )
    const { rows } = await queued(
      client,
      // Waits here for fenced writes of the leader before, which share-lock the row.
      () =>
        client.query<{ token: string }>(
          `INSERT INTO ${this.#names.leaders} AS l (name, token, pid) VALUES ($1, 1, pg_backend_pid())
           ON CONFLICT (name) DO UPDATE SET token = l.token + 1, pid = excluded.pid, value = NULL
           RETURNING token`,
          [this.#name],
        ),
      () => {
        // Its lock is gone, so a write it does not go on with must not be committed.
        const writes = "k.locktype = 'relation' AND k.relation = $2::regclass"
        return this.#hangUpOn(client, writes, 'idle in transaction', this.#names.leaders)
      },
    )
    return new AdvisoryLeadership(client, BigInt(rows[0]!.token), {
      names: this.#names,
      name: this.#name,
      key: this.#key,
      heartbeat: this.#heartbeat,
    })
  }

  /** Ends the sessions that hold such a lock and have been in this state for long: whoever is at the other end is stopped or cut off. */
  async #hangUpOn(client: SettledClient, locks: string, state: string, value: unknown): Promise<void> {
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
      await lease.limited((client) => ensureSchema(client, this.#names))
      lease.release()
    } catch (error) {
      this.#schema = undefined
      lease.release(true)
      throw error
    }
  }
}

/** Condition on `pg_locks k`: the session lock of this key. A bigint key is shown as two halves, and objsubid 1. */
function isHeld(key: string): string {
  return `k.locktype = 'advisory' AND k.granted AND k.objsubid = 1
    AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND k.classid::bigint = ((${key}::bigint >> 32) & 4294967295) AND k.objid::bigint = (${key}::bigint & 4294967295)`
}

/**
 * Waits for a lock, however long that takes, in turns of `QUEUE_MS`: a waiter that gave up or is cut off does not stay in the server's
 * queue, and one whose server says nothing hangs up. `meanwhile` runs after each turn without the lock.
 */
async function queued<T>(client: SettledClient, ask: () => Promise<T>, meanwhile: () => Promise<void>): Promise<T> {
  for (;;) {
    const impatient = setTimeout(() => hangUp(client), QUEUE_MS + PATIENCE_MS)
    try {
      return await ask()
    } catch (error) {
      if ((error as { code?: unknown }).code !== LOCK_NOT_AVAILABLE) throw error
      await meanwhile()
    } finally {
      clearTimeout(impatient)
    }
  }
}
