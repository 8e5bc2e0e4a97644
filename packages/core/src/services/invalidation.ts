/**
 * The one route by which modules learn of keys that replication changed. A module that fails to drop what it caches must not
 * go on serving it silently, so the failure is logged with the key's name and the others are still told.
 */
import type { LoggedStore } from '@lockstep/replication-driver'
import type { Log } from '../contracts.ts'

/** `rest` is the key behind what the pattern matched. */
export type InvalidationRoute = readonly [pattern: RegExp, tell: (key: string, rest: string) => Promise<void> | void]

/** Returns a function that ends it. */
export function invalidation(store: LoggedStore, log: Log, routes: readonly InvalidationRoute[]): () => void {
  const failed = (key: string, error: unknown): void =>
    log.error('a module could not follow a replicated change', {
      key,
      error: error instanceof Error ? error.message : 'unknown',
    })
  return store.onChanged((keys, source) => {
    if (source === 'own') return
    for (const key of keys) {
      for (const [pattern, tell] of routes) {
        const match = pattern.exec(key)
        if (match === null) continue
        try {
          const pending = tell(key, key.slice(match[0].length))
          pending?.catch((error: unknown) => failed(key, error))
        } catch (error) {
          failed(key, error)
        }
        break
      }
    }
  })
}
