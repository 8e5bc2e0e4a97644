import type { Log } from '../contracts.ts'

const INTERVAL_MS = 60_000

/** Runs `work` about once a minute, never twice at a time. Returns a function that ends it. */
export function periodicWork(log: Log, work: () => Promise<void>): () => void {
  let running = false
  const timer = setInterval(() => {
    if (running) return
    running = true
    work()
      .catch((error: unknown) => log.error('periodic work failed', { error: String(error) }))
      .finally(() => {
        running = false
      })
  }, INTERVAL_MS)
  timer.unref()
  return () => clearInterval(timer)
}
