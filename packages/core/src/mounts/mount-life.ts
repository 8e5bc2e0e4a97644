import { type Backend, BackendError, type BackendFactory } from '@lockstep/backend'
import type { Store } from '@lockstep/storage'
import type { Clock, Log, MountEntry } from '../contracts.ts'
import type { Random } from './mount-identity.ts'
import { type MountMap, mountMap } from './mount-map.ts'
import type { Table } from './mount-path.ts'
import { pointOf } from './mount-path.ts'
import { dataPrefix, encodeRecord, recordKey } from './mount-record.ts'
import { brokenMount, type Mounted, mountedBackend } from './mounted-backend.ts'
import { storageErrorForBackend } from './read-only.ts'
import { type SerialQueue, serialQueue } from './serial-queue.ts'

/** Where the storage-class rules of mounts are kept; `storage-classes` offers it. */
export interface MountClasses {
  registerMount(mount: {
    uuid: string
    /** `logical/<uuid>/`. */
    keyPrefix: string
    /** `secret/`, `auth/x/`. */
    mountPath: string
    local: boolean
    /** Prefixes of class `local` relative to `keyPrefix`. */
    localStorage: readonly string[]
  }): void | Promise<void>
  unregisterMount(uuid: string): void | Promise<void>
}

export interface MountTableComponents {
  /** The whole barrier view. */
  storage: Store
  classes: MountClasses
  factories: Record<Table, ReadonlyMap<string, BackendFactory>>
  clock: Clock
  random: Random
  log: Log
  /** System-wide lease TTLs, seconds. */
  defaults: { defaultLeaseTtl: number; maxLeaseTtl: number }
  /** Default: never. */
  isPerformanceSecondary?(): boolean
  /** Revokes every lease below a mount point before the mount goes away. Default: there are no leases. */
  revokeLeases?(pointPrefix: string, options: { force: boolean }): Promise<void>
}

/** The steps of a mount's life that changes, replication and start-up share. */
export interface MountLife {
  readonly components: MountTableComponents
  readonly map: MountMap
  /** Every change of the table runs in it. */
  readonly queue: SerialQueue
  /** Builds the backend; rejects as its factory does. */
  build(entry: MountEntry): Promise<Mounted>
  /** Builds the backend; a failing one becomes a mount that answers errors. */
  buildOrBreak(entry: MountEntry): Promise<Mounted>
  register(mounted: Mounted, entry?: MountEntry): Promise<void>
  /** Commits the record. Read-only refusals reject with BACKEND_READ_ONLY. */
  save(entry: MountEntry): Promise<void>
  /** Lets the backend write and routes to it. */
  activate(mounted: Mounted): void
  /** Takes the mount out of memory; its stored state is not touched. */
  retire(mounted: Mounted): Promise<void>
  /** Puts a newly built backend in the place of the running one. */
  exchange(mounted: Mounted, replacement: Mounted): Promise<void>
  /** @throws BackendError BACKEND_READ_ONLY where this cluster must not change such a mount. */
  assertWritable(local: boolean): void
  writable(local: boolean): boolean
}

export function mountLife(components: MountTableComponents): MountLife {
  const { classes, factories, log, storage } = components
  const map = mountMap(log)
  const writable = (local: boolean) => local || !(components.isPerformanceSecondary?.() ?? false)

  async function build(entry: MountEntry): Promise<Mounted> {
    const factory = factories[entry.table].get(entry.type)
    if (factory === undefined) {
      throw new BackendError('BACKEND_INVALID_REQUEST', `plugin not found in the catalog: ${entry.type}`)
    }
    return mountedBackend(components, entry, factory)
  }

  return {
    components,
    map,
    queue: serialQueue(),
    build,
    async buildOrBreak(entry) {
      try {
        return await build(entry)
      } catch (error) {
        log.error('a backend did not start', { mount: pointOf(entry.table, entry.path), error: message(error) })
        return brokenMount(components, entry, error)
      }
    },
    async register(mounted, entry = mounted.entry) {
      await classes.registerMount({
        uuid: entry.uuid,
        keyPrefix: dataPrefix(entry),
        mountPath: pointOf(entry.table, entry.path),
        local: entry.local,
        localStorage: mounted.backend.special.localStorage ?? [],
      })
    },
    async save(entry) {
      try {
        await storage.put(recordKey(entry), encodeRecord(entry))
      } catch (error) {
        throw storageErrorForBackend(error)
      }
    },
    activate(mounted) {
      mounted.gate.open()
      map.add(mounted)
    },
    async retire(mounted) {
      map.remove(mounted)
      await mounted.gate.close()
      await closeBackend(mounted.backend, log, mounted.point)
    },
    async exchange(mounted, replacement) {
      const old = mounted.backend
      await mounted.gate.close()
      mounted.backend = replacement.backend
      mounted.storage = replacement.storage
      mounted.gate = replacement.gate
      mounted.gate.open()
      await closeBackend(old, log, mounted.point)
    },
    assertWritable(local) {
      if (!writable(local)) throw new BackendError('BACKEND_READ_ONLY', 'cannot write to readonly storage')
    },
    writable,
  }
}

async function closeBackend(backend: Backend, log: Log, mount: string): Promise<void> {
  try {
    await backend.close?.()
  } catch (error) {
    log.warn('closing a backend failed', { mount, error: message(error) })
  }
}

export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
