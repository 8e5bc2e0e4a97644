import { setTimeout as sleep } from 'node:timers/promises'

export interface RetryOptions {
  /** Before the first try, ms. */
  startMs: number
  /** After a failure, ms; doubled each time up to `longestMs`. */
  retryMs: number
  longestMs: number
  onError(error: unknown): void
}

/** Tries `body` in the background until it resolves or the controller returned is aborted. */
export function retrying(body: (signal: AbortSignal) => Promise<void>, options: RetryOptions): AbortController {
  const ended = new AbortController()
  const { signal } = ended
  async function run(): Promise<void> {
    let retryMs = options.retryMs
    for (let wait = options.startMs; ; wait = retryMs, retryMs = Math.min(retryMs * 2, options.longestMs)) {
      if (wait > 0) await sleep(wait, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      try {
        return await body(signal)
      } catch (error) {
        if (signal.aborted) return
        options.onError(error)
      }
    }
  }
  void run()
  return ended
}
