/** What one secondary may hold, decided at the sender: class by kind of link, mounts by paths filter. */
import { createHash } from 'node:crypto'
import { type PathsFilter, type PathsFilterSettings, pathsFilter } from '@lockstep/paths-filter'
import { CLASSES_OF_KIND, type LinkKind, type View } from '@lockstep/replication'
import { CORE } from '@lockstep/storage-classes'

export interface FilteredViewOptions {
  kind: LinkKind
  /** `ClassRules.mountPath` for instance: "" for the core, undefined for a mount that is not known (deny by default). */
  mountPathOf(mount: string): string | undefined
  /** Default: nothing is withheld. */
  filter?: PathsFilterSettings | undefined
}

export interface FilteredView extends View {
  /** Undefined = nothing is withheld. Call `viewChanged` of the secondary's handle afterwards. Throws `PathsFilterError`. */
  setFilter(filter: PathsFilterSettings | undefined): void
}

export function filteredView(options: FilteredViewOptions): FilteredView {
  const { kind } = options
  let filter: PathsFilter | undefined
  let id = ''
  const setFilter = (settings: PathsFilterSettings | undefined): void => {
    filter = settings && pathsFilter(settings)
    const definition = JSON.stringify(settings ? [settings.mode, settings.paths] : [])
    id = `${kind}:${createHash('sha256').update(definition).digest('hex').slice(0, 32)}`
  }
  setFilter(options.filter)
  return {
    get id() {
      return id
    },
    setFilter,
    ships(partition, mountPath) {
      if (!CLASSES_OF_KIND[kind].includes(partition.class)) return false
      if (filter === undefined) return true
      // Only the core has no path of its own: a mount whose path is not known any more could be a withheld one.
      return (mountPath !== '' || partition.mount === CORE) && filter.allows(mountPath)
    },
    mountPathOf: (mount) => options.mountPathOf(mount),
  }
}
