/** What a performance secondary knows of the filter on it: that there is one. Names of what is withheld are never sent to it. */
import { filteredView } from '@lockstep/replication-driver'
import type { MountFilterView } from '../manager.ts'
import type { SecondaryRole } from '../secondary-role.ts'

const unfiltered = filteredView({ kind: 'performance', mountPathOf: () => undefined }).id

const UNTOLD =
  'A filter is in force, and this cluster is told nothing of what it withholds. The names are shown by performance/primary/dynamic-filter on the primary.'
const UNSYNCED = 'This cluster has not been synced yet, and does not know whether a filter is in force.'

/** Undefined when the id is another secondary's, or nothing is withheld. */
export function filterHere(role: Pick<SecondaryRole, 'record' | 'position'>, id: string): MountFilterView | undefined {
  if (id !== role.record.secondaryId) return undefined
  const { view } = role.position()
  if (view === unfiltered) return undefined
  return { mounts: [], namespaces: [], warnings: [view === '' ? UNSYNCED : UNTOLD] }
}
