/**
 * A probing write every few seconds, so that the other end of a link can tell a primary that is reachable from one whose storage
 * still takes writes. The key is class `ignored`: it stays on this cluster.
 */
import type { Store } from '@lockstep/storage'
import type { Clock, Log } from '../contracts.ts'
import { periodicWork } from '../services/periodic-work.ts'

const KEY = 'core/replication/canary'
const INTERVAL_MS = 5_000

/** How the storage took the probing writes. */
export interface StorageHealth {
  /** When the last one that succeeded began, ms since the epoch; 0 for never. */
  writtenAt: number
  /** How long that one took. */
  writeMs: number
  /** Since when one has been waiting, ms since the epoch; 0 when none is. */
  waitingSince: number
  /** Why the last one failed; "" when it did not. */
  error: string
}

export interface Canary {
  /** When the last probing write succeeded, ms since the epoch; 0 for never. */
  time(): number
  health(): StorageHealth
  stop(): Promise<void>
}

/** `observe` is told how long each probing write took, ms. */
export function canary(
  storage: Pick<Store, 'put'>,
  clock: Clock,
  log: Log,
  observe: (ms: number) => void = () => {},
): Canary {
  const health: StorageHealth = { writtenAt: 0, writeMs: 0, waitingSince: 0, error: '' }
  async function probe(): Promise<void> {
    const started = clock.now()
    health.waitingSince = started
    try {
      await storage.put(KEY, Buffer.from(String(started)))
      health.writtenAt = started
      health.writeMs = clock.now() - started
      health.error = ''
      observe(health.writeMs)
    } catch (error) {
      health.error = String(error)
      log.warn('the storage refused a probing write', { error: String(error) })
    } finally {
      health.waitingSince = 0
    }
  }
  const first = probe()
  const stop = periodicWork(log, probe, INTERVAL_MS)
  return {
    time: () => health.writtenAt,
    health: () => ({ ...health }),
    async stop() {
      await stop()
      await first
    },
  }
}
