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

/** What of the forest and the log one secondary may hold. Decided at the sender. */
export interface View {
  /** Whether this secondary holds the partition; `mountPath` as in `WalOperation`. */
  ships(partition: Partition, mountPath: string): boolean
}
