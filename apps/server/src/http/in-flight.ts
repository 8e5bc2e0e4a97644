/** Requests being answered: for their deadlines, and so that a shutdown can wait for them. */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export interface InFlight {
  add(response: ServerResponse, deadline: number): void
  /** From now on it has no deadline. */
  unhurried(response: ServerResponse): void
  readonly count: number
  /** Resolves when none is left, or after `limitMs`. */
  drained(limitMs: number): Promise<void>
  /** Whether a request that came in over this socket is being answered. */
  uses(socket: Socket): boolean
  /** From now on replies close their connections. */
  startClosing(): void
  stop(): void
}

const SWEEP_MS = 500

/** `expire` is called once for a response whose deadline (milliseconds since the epoch) has passed. */
export function inFlight(expire: (response: ServerResponse) => void): InFlight {
  const deadlines = new Map<ServerResponse, number>()
  const waiters = new Set<() => void>()
  // One sweep for all costs less than a timer per request.
  const sweep = setInterval(() => {
    const now = Date.now()
    for (const [response, deadline] of deadlines) if (deadline <= now && !response.headersSent) expire(response)
  }, SWEEP_MS)
  sweep.unref()

  function done(this: ServerResponse): void {
    deadlines.delete(this)
    if (deadlines.size === 0) for (const waiter of waiters) waiter()
  }

  let closing = false
  return {
    get count() {
      return deadlines.size
    },
    add(response, deadline) {
      deadlines.set(response, deadline)
      response.on('close', done)
      if (closing) response.shouldKeepAlive = false
    },
    unhurried(response) {
      if (deadlines.has(response)) deadlines.set(response, Number.POSITIVE_INFINITY)
    },
    drained(limitMs) {
      if (deadlines.size === 0) return Promise.resolve()
      return new Promise((resolve) => {
        const finish = () => {
          clearTimeout(timer)
          waiters.delete(finish)
          resolve()
        }
        const timer = setTimeout(finish, limitMs)
        waiters.add(finish)
      })
    },
    uses: (socket) => [...deadlines.keys()].some((response) => response.socket === socket),
    startClosing() {
      closing = true
      for (const response of deadlines.keys()) response.shouldKeepAlive = false
    },
    stop: () => clearInterval(sweep),
  }
}
