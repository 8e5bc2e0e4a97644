/**
 * Runs `expire` for each lease when its time has come, with one timer. A failed attempt is repeated with growing pauses; after
 * `MAX_ATTEMPTS` the lease is handed to `giveUp`. While held, leases stay due and nothing is revoked.
 */
import type { Clock, Log } from '../contracts.ts'
import { expiryQueue } from './expiry-queue.ts'

export interface Timers {
  set(callback: () => void, milliseconds: number): unknown
  clear(handle: unknown): void
}

export interface ExpirationsComponents {
  clock: Clock
  timers: Timers
  log: Log
  /** Revokes the lease if it is still due. Rejects when the attempt should be repeated. */
  expire(id: string): Promise<void>
  giveUp(id: string, error: unknown): Promise<void>
  /** Reads every lease in again and `schedule`s it. */
  reload(): Promise<void>
}

export interface ExpirationsOptions {
  /** Revocations at the same time. Default 32. */
  workers?: number
  /** Leases kept in memory. Default 250 000. */
  limit?: number
  /** Start held. Default false. */
  held?: boolean
}

export interface Expirations {
  schedule(id: string, at: number): void
  forget(id: string): void
  /** An attempt outside of this schedule failed: repeat it. */
  retry(id: string, error: unknown): Promise<void>
  hold(on: boolean): void
  stop(): void
}

const MAX_ATTEMPTS = 6
const FIRST_PAUSE_MS = 10_000
/** Node's timers overflow beyond 2^31-1 ms; the clock may also be set, so look again now and then. */
const LONGEST_SLEEP_MS = 60 * 60 * 1000
const RELOAD_EARLY_MS = 60_000

export function expirations(components: ExpirationsComponents, options: ExpirationsOptions = {}): Expirations {
  const { clock, timers, log } = components
  const workers = options.workers ?? 32
  const queue = expiryQueue(options.limit ?? 250_000)
  const attempts = new Map<string, number>()
  let held = options.held ?? false
  let stopped = false
  let busy = 0
  let reloading = false
  let handle: unknown
  let wakeAt = Number.POSITIVE_INFINITY

  function arrange(): void {
    const due = Math.min(queue.next(), reloading ? Number.POSITIVE_INFINITY : queue.horizon - RELOAD_EARLY_MS)
    const at = Math.min(due, clock.now() + LONGEST_SLEEP_MS)
    if (stopped || due === Number.POSITIVE_INFINITY || (handle !== undefined && wakeAt <= at)) return
    if (handle !== undefined) timers.clear(handle)
    wakeAt = at
    handle = timers.set(wake, Math.max(0, at - clock.now()))
  }

  function wake(): void {
    handle = undefined
    wakeAt = Number.POSITIVE_INFINITY
    if (stopped) return
    if (!reloading && queue.horizon - RELOAD_EARLY_MS <= clock.now()) void reload()
    pump()
  }

  function pump(): void {
    while (!held && !stopped && busy < workers) {
      const id = queue.take(clock.now())
      if (id === undefined) break
      busy++
      void attempt(id).finally(() => {
        busy--
        pump()
      })
    }
    if (!held && busy < workers) arrange()
  }

  async function attempt(id: string): Promise<void> {
    try {
      await components.expire(id)
      attempts.delete(id)
    } catch (error) {
      await retry(id, error)
    }
  }

  async function retry(id: string, error: unknown): Promise<void> {
    const failed = (attempts.get(id) ?? 0) + 1
    if (stopped) return
    if (failed < MAX_ATTEMPTS) {
      attempts.set(id, failed)
      log.warn('lease revocation failed, will be tried again', { lease_id: id, attempt: failed, error: reason(error) })
      schedule(id, clock.now() + FIRST_PAUSE_MS * 2 ** (failed - 1))
      return
    }
    attempts.delete(id)
    log.error('lease revocation given up; the lease is irrevocable', { lease_id: id, error: reason(error) })
    await components.giveUp(id, error).catch((cause) => {
      log.error('an irrevocable lease could not be marked', { lease_id: id, error: reason(cause) })
      schedule(id, clock.now() + FIRST_PAUSE_MS * 2 ** MAX_ATTEMPTS)
    })
  }

  async function reload(): Promise<void> {
    reloading = true
    queue.refill()
    try {
      await components.reload()
    } catch (error) {
      log.error('leases could not be read, will be tried again', { error: reason(error) })
      if (!stopped) timers.set(() => void (stopped || reload()), FIRST_PAUSE_MS)
    } finally {
      reloading = false
      arrange()
    }
  }

  function schedule(id: string, at: number): void {
    queue.set(id, at)
    if (!held && at < wakeAt) arrange()
  }

  return {
    schedule,
    retry,
    forget(id) {
      queue.remove(id)
      attempts.delete(id)
    },
    hold(on) {
      held = on
      if (!on) pump()
    },
    stop() {
      stopped = true
      if (handle !== undefined) timers.clear(handle)
      handle = undefined
      queue.clear()
      attempts.clear()
    },
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
