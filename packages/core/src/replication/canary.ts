/**
 * A probing write every few seconds, so that the other end of a link can tell a primary that is reachable from one whose storage
 * still takes writes. The key is class `ignored`: it stays on this cluster.
 */
import type { Store } from '@lockstep/storage'
import type { Clock, Log } from '../contracts.ts'
import { periodicWork } from '../services/periodic-work.ts'

const KEY = 'core/replication/canary'
const INTERVAL_MS = 5_000

export interface Canary {
  /** When the last probing write succeeded, ms since the epoch; 0 for never. */
  time(): number
  stop(): Promise<void>
}

export function canary(storage: Pick<Store, 'put'>, clock: Clock, log: Log): Canary {
  let time = 0
  async function probe(): Promise<void> {
    const started = clock.now()
    try {
      await storage.put(KEY, Buffer.from(String(started)))
      time = started
    } catch (error) {
      log.warn('the storage refused a probing write', { error: String(error) })
    }
  }
  const first = probe()
  const stop = periodicWork(log, probe, INTERVAL_MS)
  return {
    time: () => time,
    async stop() {
      await stop()
      await first
    },
  }
}
