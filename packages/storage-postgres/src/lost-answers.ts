import { setTimeout as sleep } from 'node:timers/promises'
import { StorageError } from '@lockstep/storage'
import type { ClientConfig } from 'pg'
import { Lane } from './lane.ts'
import { postgresError } from './postgres-error.ts'
import type { Session } from './sessions.ts'

const PAUSE_MS = 20

/**
 * Writes whose answer was lost on the way: their sessions may still carry them out, even a while after the connection broke. Nothing
 * else is read or written before those sessions have ended, so that who reads after a failed write sees for good whether it happened.
 */
export class LostAnswers {
  readonly #sessions = new Set<Session>()
  readonly #lane: Lane
  readonly #patience: number
  #settling: Promise<void> | undefined

  /** @param patience How long a session may take to end before what waits for it is refused, ms. */
  constructor(config: ClientConfig, patience: number) {
    this.#patience = patience
    this.#lane = new Lane(config, { size: 1, patience })
  }

  add(session: Session): void {
    this.#sessions.add(session)
  }

  /** Undefined when there is nothing to wait for. Rejects with `STORAGE_UNAVAILABLE` when it cannot be known yet. */
  readonly settled = (): Promise<void> | undefined => {
    if (this.#sessions.size === 0) return undefined
    this.#settling ??= this.#settle()
    return this.#settling
  }

  close(): Promise<void> {
    return this.#lane.close()
  }

  async #settle(): Promise<void> {
    const until = performance.now() + this.#patience
    try {
      // Until there are none: those that were added meanwhile have callers who wait for this as well.
      while (this.#sessions.size > 0) {
        const sessions = [...this.#sessions]
        if ((await this.#end(sessions)) === 0) {
          for (const session of sessions) this.#sessions.delete(session)
        } else if (performance.now() > until) {
          const text = 'PostgreSQL has not ended the session of a write whose answer was lost'
          throw new StorageError('STORAGE_UNAVAILABLE', text)
        } else {
          await sleep(PAUSE_MS)
        }
      }
    } finally {
      // In the same turn as the last look: nobody joins what is over.
      this.#settling = undefined
    }
  }

  /** How many of them were still there. */
  async #end(sessions: readonly Session[]): Promise<number> {
    try {
      const [row] = await this.#lane.query<[number]>({
        name: 'end sessions',
        text: `SELECT count(pg_terminate_backend(a.pid))::integer
          FROM unnest($1::integer[], $2::timestamptz[]) AS s (pid, started_at)
          JOIN pg_stat_activity a ON a.pid = s.pid AND a.backend_start = s.started_at`,
        values: [sessions.map(({ pid }) => pid), sessions.map(({ startedAt }) => startedAt)],
      })
      return row![0]
    } catch (error) {
      throw postgresError(error)
    }
  }
}
