import { BackendError } from '@lockstep/backend'
import type { KeyStore } from './key-store.ts'

const intervalMs = 3_600_000

/** Rotates keys that have reached their `auto_rotate_period`; looks once an hour. */
export function automaticRotation(keys: KeyStore, now: () => number): () => Promise<void> {
  let last = Number.NEGATIVE_INFINITY
  return async () => {
    if (now() - last < intervalMs) return
    last = now()
    for (const name of await keys.names()) {
      const key = await keys.get(name)
      const period = key?.settings.autoRotatePeriod ?? 0
      const newest = key?.versions.get(key.settings.latest)
      if (period === 0 || newest === undefined || newest.created + period * 1000 > now()) continue
      try {
        await keys.rotate(name)
      } catch (error) {
        // Deleted meanwhile: no loss.
        if (!(error instanceof BackendError) || error.code !== 'BACKEND_INVALID_REQUEST') throw error
      }
    }
  }
}
