/**
 * Several records become one batch that is applied as a whole: of several operations on a key only the outcome counts. A key
 * that moved to another partition keeps the deletion from the one it was in before the batch, ahead of the outcome, so that
 * batches can be joined again at the other end.
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
  /** Every key's outcome; before all of them the deletions of keys that moved. */
  entries(): Generator<Entry>
  /** The same by partition, as messages carry them. */
  groups(): EntryGroup[]
}

/** What one entry costs beside its key and value. */
const ENTRY_OVERHEAD = 16

interface KeyHistory {
  /** The first operation of the batch tells where the key was before it. */
  first: Entry
  outcome: Entry
}

export function entryBatch(): EntryBatch {
  const histories = new Map<string, KeyHistory>()
  let bytes = 0

  const add = (entry: Entry): void => {
    const { key } = entry
    const history = histories.get(key)
    if (history === undefined) {
      histories.set(key, { first: entry, outcome: entry })
      bytes += cost(entry)
      return
    }
    bytes -= cost(history.outcome)
    history.outcome = entry.value === null ? { ...history.first, value: null } : entry
    bytes += cost(history.outcome)
  }

  function* moves(): Generator<Entry> {
    for (const { first, outcome } of histories.values()) {
      if (first.partition !== outcome.partition) yield { ...first, value: null }
    }
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
