/** `ignored` keys are stored but never logged, hashed or shipped. */
export type ShippedClass = 'replicated' | 'local'

/** One tree of the Merkle forest: all keys of one class in one mount (or in the core, mount "core"). */
export interface Partition {
  class: ShippedClass
  /** Mount uuid, or "core". No slash. */
  mount: string
}

/** `<class>/<mount>`. */
export type PartitionId = string

/** A place in one cluster's log. `digest` chains every record up to `index`, so equal cursors mean equal histories. */
export interface Cursor {
  epoch: number
  index: number
  /** 32 bytes. */
  digest: Uint8Array
}

/** `value` is ciphertext; `undefined` is a deletion. */
export interface WalOperation {
  partition: Partition
  /** Mount path at the time of writing, for the paths filter: `secret/`, `auth/x/`; "" for the core. */
  mountPath: string
  key: string
  value: Uint8Array | undefined
}

/** One committed transaction. */
export interface WalRecord {
  epoch: number
  index: number
  operations: readonly WalOperation[]
}

/**
 * What of the forest and the log one secondary may hold. Decided at the sender, asked again for every operation and every
 * partition, so a change takes effect at once; report it with the event `viewChanged` too, so that the secondary purges or fills.
 */
export interface View {
  /**
   * Name of the definition in force (for instance a hash of mode and paths, plus mount moves). A secondary whose stored
   * name differs is brought in line by a Merkle diff. At most 128 characters.
   */
  readonly id: string
  /** Whether this secondary may hold the partition when its mount stands at `mountPath` (as in `WalOperation`). */
  ships(partition: Partition, mountPath: string): boolean
  /**
   * Where the mount stands now, "" for the core. Undefined when there is no such mount (any more): its records are then judged by
   * the path they were written under, and what is left in its partition by "", which a view that withholds some path should
   * allow for the core only.
   */
  mountPathOf(mount: string): string | undefined
}

export function partitionId(partition: Partition): PartitionId {
  return `${partition.class}/${partition.mount}`
}

/** Undefined for anything that is not `<class>/<mount>`. */
export function parsePartitionId(id: PartitionId): Partition | undefined {
  const cut = id.indexOf('/')
  const kind = id.slice(0, cut)
  const mount = id.slice(cut + 1)
  if ((kind !== 'replicated' && kind !== 'local') || mount === '' || mount.includes('/')) return undefined
  return { class: kind, mount }
}
