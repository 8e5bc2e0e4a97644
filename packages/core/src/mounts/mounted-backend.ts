import type { Backend, BackendFactory } from '@lockstep/backend'
import type { Store } from '@lockstep/storage'
import { type Clock, CoreError, type Log, type MountEntry, type RoutedMount } from '../contracts.ts'
import { pointOf } from './mount-path.ts'
import { dataPrefix } from './mount-record.ts'
import { type MountStorage, mountStorage } from './mount-storage.ts'

/** A mount in memory: what the router hands out plus the gate of its storage. */
export interface Mounted extends RoutedMount {
  gate: MountStorage
}

export interface MountedBackendComponents {
  storage: Store
  clock: Clock
  log: Log
  /** System-wide lease TTLs, seconds. */
  defaults: { defaultLeaseTtl: number; maxLeaseTtl: number }
}

const builtinTypes = new Set(['system', 'cubbyhole', 'token'])

/** Builds the backend of a mount. The storage gate stays shut until the mount is registered and committed. */
export async function mountedBackend(
  components: MountedBackendComponents,
  entry: MountEntry,
  factory: BackendFactory,
): Promise<Mounted> {
  const mounted = unbuilt(components, entry)
  mounted.backend = await factory({
    options: entry.options,
    mountUuid: entry.uuid,
    mountAccessor: entry.accessor,
    storage: mounted.storage,
    ttl: () => effectiveTtl(mounted.entry, components.defaults),
    now: () => components.clock.now(),
    log: (level, message, fields) => components.log[level](message, { mount: mounted.point, ...fields }),
  })
  return mounted
}

/** Stands in for a mount whose type is unknown here or whose backend fails to start; its neighbours are not affected. */
export function brokenMount(components: MountedBackendComponents, entry: MountEntry, cause: unknown): Mounted {
  const mounted = unbuilt(components, entry)
  mounted.backend = {
    type: entry.type,
    special: {},
    handle: () =>
      Promise.reject(
        new CoreError('CORE_INTERNAL', `the backend mounted at "${mounted.point}" did not start`, { cause }),
      ),
  }
  return mounted
}

function unbuilt(components: MountedBackendComponents, entry: MountEntry): Mounted {
  const gate = mountStorage(components.storage, dataPrefix(entry))
  return {
    entry,
    backend: undefined as unknown as Backend,
    point: pointOf(entry.table, entry.path),
    storage: gate.storage,
    builtin: builtinTypes.has(entry.type),
    gate,
  }
}

/** Seconds. */
export function effectiveTtl(
  entry: MountEntry,
  defaults: MountedBackendComponents['defaults'],
): { default: number; max: number } {
  const max = entry.config.max_lease_ttl || defaults.maxLeaseTtl
  return { default: Math.min(entry.config.default_lease_ttl || defaults.defaultLeaseTtl, max), max }
}
