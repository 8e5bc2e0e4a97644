/**
 * Several records become one batch that is applied as a whole: of several operations on a key only the outcome counts. For a
 * key that was in more than one partition the batch also deletes it from all the others. Where the receiver has it need not be
 * where the primary had it before the batch: after a Merkle diff it can be anywhere the key has been since the diff began.
 */
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
  /** Keys in the batch. */
  readonly size: number
  /** Bytes of keys and values that it takes to send or store the batch, roughly. */
  readonly bytes: number
  add(entry: Entry): void
  addGroup(group: EntryGroup): void
  /** Every key's outcome; before all of them the deletions from other partitions. */
  entries(): Generator<Entry>
  /** The same by partition, as messages carry them. */
  groups(): EntryGroup[]
}

/** What one entry costs beside its key and value. */
const ENTRY_OVERHEAD = 16

interface KeyHistory {
  outcome: Entry
  /** Deletions from the other partitions the key was in. Absent for most keys. */
  others?: Entry[]
}

export function entryBatch(): EntryBatch {
  const histories = new Map<string, KeyHistory>()
  let bytes = 0

  const add = (entry: Entry): void => {
    const history = histories.get(entry.key)
    bytes += cost(entry)
    if (history === undefined) {
      histories.set(entry.key, { outcome: entry })
      return
    }
    const before = history.outcome
    bytes -= cost(before)
    history.outcome = entry
    if (before.partition === entry.partition) return
    const others = (history.others ?? []).filter(({ partition }) => partition !== entry.partition)
    history.others = [...others, { ...before, value: null }]
  }

  function* moves(): Generator<Entry> {
    for (const { others } of histories.values()) if (others) yield* others
  }

  function* outcomes(): Generator<Entry> {
    for (const { outcome } of histories.values()) yield outcome
  }

  return {
    get size() {
      return histories.size
    },
    get bytes() {
      return bytes
    },
    add,
    addGroup({ partition, mountPath, keys, values }) {
      for (let i = 0; i < keys.length; i++) add({ partition, mountPath, key: keys[i]!, value: values[i]! })
    },
    *entries() {
      yield* moves()
      yield* outcomes()
    },
    groups: () => [...grouped(moves()), ...grouped(outcomes())],
  }
}

function grouped(entries: Iterable<Entry>): EntryGroup[] {
  const groups = new Map<string, EntryGroup>()
  for (const { partition, mountPath, key, value } of entries) {
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
}

function cost(entry: Entry): number {
  return ENTRY_OVERHEAD + entry.key.length + (entry.value?.length ?? 0)
}
