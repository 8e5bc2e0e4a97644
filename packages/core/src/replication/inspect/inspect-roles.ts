/** The inspections of a cluster in its present roles. */
import { pathsFilter } from '@lockstep/paths-filter'
import type { LoggedStore } from '@lockstep/replication-driver'
import { CoreError } from '../../contracts.ts'
import type { PrimaryRole } from '../primary-role.ts'
import type { FilterRecord, ReplicationKind } from '../role-records.ts'
import type { SecondaryRole } from '../secondary-role.ts'
import { type FilterPreview, type Inspection, inspectSecondary, inspectSelf, previewFilter } from './inspect.ts'

export interface InspectorComponents {
  store: LoggedStore
  /** `secret/`, `auth/x/`; "" for the core; undefined for a mount that is not known. */
  pathOf(mount: string): string | undefined
  filter(id: string): FilterRecord | undefined
  /** Both throw CORE_INVALID_REQUEST when the cluster is none. */
  primary(kind: ReplicationKind): Pick<PrimaryRole, 'view' | 'request'>
  secondary(kind: ReplicationKind): Pick<SecondaryRole, 'position'>
}

export interface Inspector {
  /** Throws CORE_INVALID_REQUEST for an id that is not known. */
  secondary(kind: ReplicationKind, id: string): Promise<Inspection>
  /** What this secondary holds. */
  self(kind: ReplicationKind): ReturnType<typeof inspectSelf>
  /** What `next` would change for the performance secondary `id`; undefined = no filter. Changes nothing. */
  preview(id: string, next: { mode: string; paths: string[] } | undefined): FilterPreview & { unmounted: string[] }
}

export function inspector(components: InspectorComponents): Inspector {
  const { store, pathOf, filter, primary, secondary } = components
  return {
    async secondary(kind, id) {
      const role = primary(kind)
      const view = role.view(id)
      if (view === undefined) throw invalid(`id: no secondary has the id ${JSON.stringify(id)}`)
      return inspectSecondary(store, {
        ...{ id, kind, view },
        request: (method, body, options) => role.request(id, method, body, options),
      })
    },
    self: (kind) => inspectSelf(store, kind, secondary(kind).position(), pathOf),
    preview(id, next) {
      primary('performance')
      try {
        const checked = next && pathsFilter(next as FilterRecord).toJSON()
        const preview = previewFilter(store, pathOf, filter(id), checked)
        const mounted = new Set(store.forest.partitions().map((partition) => pathOf(partition.split('/')[1]!)))
        return { ...preview, unmounted: (checked?.paths ?? []).filter((path) => !mounted.has(path)) }
      } catch (error) {
        throw invalid((error as Error).message)
      }
    },
  }
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
