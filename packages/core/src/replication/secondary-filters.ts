/** The filters of a primary's performance secondaries: stored first, then in force. */
import { pathsFilter } from '@lockstep/paths-filter'
import { CoreError } from '../contracts.ts'
import type { ReplicationManager } from './manager.ts'
import type { PrimaryRole } from './primary-role.ts'
import type { FilterRecord, ReplicationKind, RoleRecords } from './role-records.ts'

/** As of a secondary's id. */
const LONGEST_ID = 63

export interface SecondaryFiltersComponents {
  records: Pick<RoleRecords, 'saveFilter' | 'removeFilter'>
  /** As stored; kept up to date. */
  filters: Map<string, FilterRecord>
  /** Throws CORE_INVALID_REQUEST when the cluster is none. */
  primary(kind: ReplicationKind): Pick<PrimaryRole, 'setFilter'>
  /** Mounts that are replicated unless a filter withholds them. Default: none. */
  mountPoints?: (() => string[]) | undefined
}

export type SecondaryFilters = Pick<ReplicationManager, 'filter' | 'setFilter' | 'deleteFilter' | 'dynamicFilter'>

export function secondaryFilters(components: SecondaryFiltersComponents): SecondaryFilters {
  const { records, filters, primary } = components
  return {
    async filter(id) {
      primary('performance')
      return filters.get(id)
    },
    async setFilter(id, input) {
      const role = primary('performance')
      const filter = checkFilter(id, input)
      await records.saveFilter(id, filter)
      filters.set(id, filter)
      role.setFilter(id, filter)
    },
    async deleteFilter(id) {
      const role = primary('performance')
      await records.removeFilter(id)
      filters.delete(id)
      role.setFilter(id, undefined)
    },
    async dynamicFilter(id) {
      primary('performance')
      const settings = filters.get(id)
      if (settings === undefined) return undefined
      const filter = pathsFilter(settings)
      const mounts = (components.mountPoints?.() ?? []).filter((point) => !filter.allows(point))
      return { mounts: mounts.sort(), namespaces: [] }
    },
  }
}

function checkFilter(id: string, input: { mode: string; paths: string[] }): FilterRecord {
  if (id.length > LONGEST_ID) throw invalid(`id: expected at most ${LONGEST_ID} characters`)
  try {
    return pathsFilter(input as FilterRecord).toJSON()
  } catch (error) {
    throw invalid((error as Error).message)
  }
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
