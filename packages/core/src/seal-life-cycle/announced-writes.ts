import type { Engine } from '@lockstep/storage'
import type { Log } from '../contracts.ts'

/** The same engine. Says once that writes fail, and why, and once that they succeed again: requests of a busy node each say so for themselves. */
export function announcedWrites(engine: Engine, log: Log): Engine {
  let failing: { since: number; reason: string } | undefined

  function failed(error: unknown): void {
    const { code, message } = error as { code?: unknown; message?: unknown }
    // The node closed it.
    if (code === 'STORAGE_CLOSED') return
    const reason = String(message)
    if (failing?.reason === reason) return
    log.error('writing to the storage fails, writes are refused until it succeeds', { code, reason })
    failing = { since: failing?.since ?? performance.now(), reason }
  }

  function succeeded(): void {
    if (failing === undefined) return
    const seconds = ((performance.now() - failing.since) / 1000).toFixed(1)
    log.info('writing to the storage succeeds again', { seconds })
    failing = undefined
  }

  const announced: Engine = {
    limits: engine.limits,
    get: (key) => engine.get(key),
    getMany: (keys) => engine.getMany(keys),
    scan: (range) => engine.scan(range),
    async write(operations) {
      try {
        await engine.write(operations)
      } catch (error) {
        failed(error)
        throw error
      }
      succeeded()
    },
    close: () => engine.close(),
  }
  if (engine.list) announced.list = (prefix, options) => engine.list!(prefix, options)
  return announced
}
