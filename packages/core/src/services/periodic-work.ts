import type { Log } from '../contracts.ts'

const INTERVAL_MS = 60_000

/** Runs `work` every so often (default once a minute), never twice at a time. The function returned ends it and waits for it. */
export function periodicWork(log: Log, work: () => Promise<void>, intervalMs = INTERVAL_MS): () => Promise<void> {
  let running: Promise<void> | undefined
  const timer = setInterval(() => {
    running ??= work()
      .catch((error: unknown) => log.error('periodic work failed', { error: String(error) }))
      .finally(() => {
        running = undefined
      })
  }, intervalMs)
  timer.unref()
  return async () => {
    clearInterval(timer)
    await running
  }
}
