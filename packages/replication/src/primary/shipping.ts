import { CLASSES_OF_KIND, type LinkKind } from '../messages.ts'
import { type PartitionId, parsePartitionId, type View, type WalOperation } from '../types.ts'

/** The one place that decides what leaves: link kind × view, asked anew each time. */
export interface Shipping {
  shipsOperation(operation: WalOperation): boolean
  shipsPartition(id: PartitionId): boolean
  mountPathOf(id: PartitionId): string
}

export function shipping(kind: LinkKind, view: View): Shipping {
  const classes = CLASSES_OF_KIND[kind]
  return {
    shipsOperation({ partition, mountPath }) {
      if (!classes.includes(partition.class)) return false
      // A mount that was moved is judged by where it stands now: an old record must not slip out under its old path.
      return view.ships(partition, view.mountPathOf(partition.mount) ?? mountPath)
    },
    shipsPartition(id) {
      const partition = parsePartitionId(id)
      if (partition === undefined || !classes.includes(partition.class)) return false
      return view.ships(partition, view.mountPathOf(partition.mount) ?? '')
    },
    mountPathOf: (id) => view.mountPathOf(parsePartitionId(id)?.mount ?? '') ?? '',
  }
}
