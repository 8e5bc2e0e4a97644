/** Verifies a store again and again in the background, slowly. */
import type { ShippedClass } from '@lockstep/replication'
import type { IndexReport } from './index-check.ts'
import { classOf } from './index-differences.ts'
import type { LoggedStore } from './logged-store.ts'
import { type Runtime, systemRuntime } from './runtime.ts'

/** Where this cluster's data comes from. */
export interface ScrubUpstream {
  /** Classes that a primary of this cluster writes, and this cluster does not. */
  readonly classes: readonly ShippedClass[]
  /** Compares everything with the primary: `follower.compare`. */
  compare(reason: string): void
}

export interface ScrubComponents {
  store: Pick<LoggedStore, 'verify'>
  /** Asked whenever it matters, as roles change. Undefined on a cluster that follows nobody. Default: nobody. */
  upstream?(): ScrubUpstream | undefined
  /** After each pass, also when all was well. */
  onReport?(report: IndexReport): void
  /** A pass could not be finished; the next one will come. */
  onFailed?(error: unknown): void
  /** Default: the system's. */
  runtime?: Runtime
}

export interface ScrubOptions {
  /** From the end of a pass, or the start, to the next pass, ms. Default 24 hours. */
  intervalMs?: number
  /** Default 2,000. */
  keysPerSecond?: number
}

export interface ScrubHandle {
  /** Resolves when nothing is read or repaired any more. */
  close(): Promise<void>
}

const DAY_MS = 24 * 60 * 60 * 1000

/**
 * What a primary wrote is repaired from there: the index is made to follow the damaged data, so that it shows the damage, and a comparison
 * with the primary fetches what differs. What this cluster writes itself has no second copy, so it is only reported: an index that was
 * made to follow it would pass the damage on as if somebody had written it.
 */
export function scrub(components: ScrubComponents, options: ScrubOptions = {}): ScrubHandle {
  const { store, upstream = () => undefined, runtime = systemRuntime } = components
  const { intervalMs = DAY_MS, keysPerSecond = 2000 } = options
  const stop = new AbortController()
  let cancelTimer: (() => void) | undefined
  let passing: Promise<void> = Promise.resolve()

  const pass = async (): Promise<void> => {
    const report = await store.verify({
      repair: (partition) => upstream()?.classes.includes(classOf(partition)) ?? false,
      pace: { keysPerSecond },
      signal: stop.signal,
    })
    components.onReport?.(report)
    if (report.repaired > 0) upstream()?.compare(`a scrub found ${report.repaired} damaged entries`)
  }

  const schedule = (): void => {
    if (stop.signal.aborted) return
    const start = () => {
      passing = pass()
        .catch((error) => {
          if (!stop.signal.aborted) components.onFailed?.(error)
        })
        .finally(schedule)
    }
    cancelTimer = runtime.after(intervalMs, start, { background: true })
  }
  schedule()

  return {
    close() {
      stop.abort(new Error('the scrub was closed'))
      cancelTimer?.()
      return passing
    },
  }
}
