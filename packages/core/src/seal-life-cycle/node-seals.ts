/** The auto seals of one node: the one in use, and the one to migrate away from. */
import type { AutoSeal } from '@lockstep/seal'
import type { Store } from '@lockstep/storage'
import type { Log } from '../contracts.ts'
import type { Meter, Sample } from '../metrics/meter.ts'
import { isFullyWrapped, keepSeal, type SealKeeper, type SealKeeperOptions } from './seal-keeper.ts'
import { type WatchedSeal, watchedSeal } from './watched-seal.ts'

export interface NodeSealsComponents {
  autoSeal?: AutoSeal | undefined
  sealToMigrateFrom?: AutoSeal | undefined
  meter: Meter
  clock: { now(): number }
  log: Log
}

export interface NodeSealsOptions {
  /** What operators call them, for status and metrics. Default: the type. */
  sealNames?: { autoSeal?: string | undefined; sealToMigrateFrom?: string | undefined }
  sealTests?: SealKeeperOptions
}

export interface NodeSeals {
  autoSeal: WatchedSeal | undefined
  sealToMigrateFrom: WatchedSeal | undefined
  /** For an active node; undefined with Shamir. */
  keep(store: Store): SealKeeper | undefined
  samples(): Sample[]
  /** `sys/seal-backend-status`. */
  status(store: Pick<Store, 'get'>): Promise<Record<string, unknown>>
}

export function nodeSeals(components: NodeSealsComponents, options: NodeSealsOptions): NodeSeals {
  const { meter, clock, log } = components
  const { sealNames = {} } = options
  const watch = (seal: AutoSeal | undefined, name: string | undefined): WatchedSeal | undefined =>
    seal && watchedSeal({ seal, name: name ?? seal.type, meter, clock })
  const autoSeal = watch(components.autoSeal, sealNames.autoSeal)
  const sealToMigrateFrom = watch(components.sealToMigrateFrom, sealNames.sealToMigrateFrom)
  return {
    autoSeal,
    sealToMigrateFrom,
    keep: (store) => autoSeal && keepSeal({ seal: autoSeal, store, log }, options.sealTests),
    samples: () => autoSeal?.samples() ?? [],
    async status(store) {
      // Shares are in nobody's hands that could be away.
      const health = autoSeal?.health() ?? { healthy: true as const }
      const state = health.healthy
        ? { healthy: true }
        : { healthy: false, unhealthy_since: new Date(health.unhealthySince).toISOString() }
      const former =
        sealToMigrateFrom === undefined
          ? []
          : [
              {
                name: sealToMigrateFrom.name,
                healthy: sealToMigrateFrom.health().healthy,
                configured: true,
                disabled: true,
              },
            ]
      return {
        ...state,
        fully_wrapped: autoSeal === undefined || (await isFullyWrapped(autoSeal, store)),
        backends: [{ name: autoSeal?.name ?? 'shamir', ...state, configured: true, disabled: false }, ...former],
      }
    },
  }
}
