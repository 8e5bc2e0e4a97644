/** Several records become one batch that is applied as a whole: of several operations on a key only the outcome counts. */
import type { EntryGroup } from '../messages.ts'
import type { PartitionId } from '../types.ts'

export interface Entry {
  partition: PartitionId
  mountPath: string
  key: string
  /** Null is a deletion. */
  value: Uint8Array | null
}

export interface EntryBatch {
  readonly size: number
  /** Bytes of keys and values that it takes to send or store the batch, roughly. */
  readonly bytes: number
  add(entry: Entry): void
  addGroup(group: EntryGroup): void
  /** Every key once. */
  entries(): Iterable<Entry>
  /** The same by partition, as messages carry them. */
  groups(): EntryGroup[]
}

/** What one entry costs beside its key and value. */
const ENTRY_OVERHEAD = 16

export function entryBatch(): EntryBatch {
  const latest = new Map<string, Entry>()
  let bytes = 0

  const add = (entry: Entry): void => {
    const { key } = entry
    const earlier = latest.get(key)
    if (earlier === undefined) {
      latest.set(key, entry)
      bytes += cost(entry)
      return
    }
    // A key that moves to another partition is first deleted from the old one. If it ends deleted, whoever applies the batch has
    // to delete it from where it was before the batch, and that is what the first operation names.
    const outcome = entry.value === null ? { ...earlier, value: null } : entry
    latest.set(key, outcome)
    bytes += cost(outcome) - cost(earlier)
  }

  return {
    get size() {
      return latest.size
    },
    get bytes() {
      return bytes
    },
    add,
    addGroup({ partition, mountPath, keys, values }) {
      for (let i = 0; i < keys.length; i++) add({ partition, mountPath, key: keys[i]!, value: values[i]! })
    },
    entries: () => latest.values(),
    groups() {
      const groups = new Map<string, EntryGroup>()
      for (const { partition, mountPath, key, value } of latest.values()) {
        const name = `${partition}\n${mountPath}`
        let group = groups.get(name)
        if (group === undefined) {
          group = { partition, mountPath, keys: [], values: [] }
          groups.set(name, group)
        }
        group.keys.push(key)
        group.values.push(value)
      }
      return [...groups.values()]
    },
  }
}

function cost(entry: Entry): number {
  return ENTRY_OVERHEAD + entry.key.length + (entry.value?.length ?? 0)
}
