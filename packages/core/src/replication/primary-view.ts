/** What one secondary may hold, decided here at the sender: class by kind of link, mounts by paths filter. */
import { createHash } from 'node:crypto'
import { type PathsFilter, pathsFilter } from '@lockstep/paths-filter'
import type { Partition, View } from '@lockstep/replication'
import type { FilterRecord, ReplicationKind } from './role-records.ts'
import { carries } from './status.ts'

export interface MountPaths {
  /** `secret/`, `auth/x/`; "" for the core; undefined for a mount that is not known (deny by default). */
  pathOf(mount: string): string | undefined
}

export interface FilteredView extends View {
  /** Undefined = nothing is withheld. */
  setFilter(filter: FilterRecord | undefined): void
}

export function primaryView(
  kind: ReplicationKind,
  mounts: MountPaths,
  initial: FilterRecord | undefined,
): FilteredView {
  let filter: PathsFilter | undefined
  let id = ''
  const setFilter = (record: FilterRecord | undefined): void => {
    filter = record && pathsFilter(record)
    const definition = JSON.stringify(record ? [record.mode, record.paths] : [])
    id = `${kind}:${createHash('sha256').update(definition).digest('hex').slice(0, 32)}`
  }
  setFilter(initial)
  return {
    get id() {
      return id
    },
    setFilter,
    ships: (partition: Partition, mountPath: string) =>
      carries(kind, partition.class) && (filter === undefined || filter.allows(mountPath)),
    mountPathOf: (mount) => mounts.pathOf(mount),
  }
}
