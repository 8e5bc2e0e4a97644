import type { Log } from '../contracts.ts'
import type { Table } from './mount-path.ts'
import type { Mounted } from './mounted-backend.ts'
import { router } from './router.ts'

/** The mounts in memory: all of them by uuid, and the routed ones by point. */
export interface MountMap {
  match(path: string): Mounted | undefined
  at(point: string): Mounted | undefined
  byUuid(uuid: string): Mounted | undefined
  byAccessor(accessor: string): Mounted | undefined
  ofType(type: string): Mounted | undefined
  /** A point already taken that `point` would collide with. */
  conflict(point: string): string | undefined
  /** Adds a mount; when its point is taken it is kept aside until that point becomes free. */
  add(mounted: Mounted): void
  remove(mounted: Mounted): void
  /** Re-indexes a mount around a change of its `entry` and `point`. */
  change(mounted: Mounted, change: () => void): void
  all(): Mounted[]
  ofTable(table: Table): Mounted[]
}

export function mountMap(log: Log): MountMap {
  const routes = router<Mounted>()
  const uuids = new Map<string, Mounted>()
  const accessors = new Map<string, Mounted>()
  // Two clusters can each hold a mount the other cannot see, so a replicated mount may arrive at a taken point.
  const shadowed = new Set<Mounted>()

  function place(mounted: Mounted): void {
    const taken = routes.conflict(mounted.point)
    if (taken === undefined) {
      shadowed.delete(mounted)
      routes.set(mounted.point, mounted)
      return
    }
    const owner = routes.get(taken)
    if (!shadowed.has(mounted)) {
      log.error(owner?.entry.local ? 'local (non-replicated) mount already exists' : 'mount point is taken', {
        mount: mounted.point,
        existing: taken,
      })
    }
    shadowed.add(mounted)
  }

  function add(mounted: Mounted): void {
    uuids.set(mounted.entry.uuid, mounted)
    accessors.set(mounted.entry.accessor, mounted)
    place(mounted)
  }

  function remove(mounted: Mounted): void {
    uuids.delete(mounted.entry.uuid)
    accessors.delete(mounted.entry.accessor)
    shadowed.delete(mounted)
    if (routes.get(mounted.point) === mounted) {
      routes.delete(mounted.point)
      for (const waiting of [...shadowed].sort((a, b) => (a.entry.uuid < b.entry.uuid ? -1 : 1))) place(waiting)
    }
  }

  return {
    match: (path) => routes.match(path),
    at: (point) => routes.get(point),
    byUuid: (uuid) => uuids.get(uuid),
    byAccessor: (accessor) => accessors.get(accessor),
    ofType: (type) => [...uuids.values()].find((mounted) => mounted.entry.type === type),
    conflict: (point) => routes.conflict(point),
    add,
    remove,
    change(mounted, change) {
      remove(mounted)
      change()
      add(mounted)
    },
    all: () => [...uuids.values()],
    ofTable: (table) =>
      [...uuids.values()]
        .filter((mounted) => mounted.entry.table === table && routes.get(mounted.point) === mounted)
        .sort((a, b) => (a.entry.path < b.entry.path ? -1 : 1)),
  }
}
