/**
 * Answers one round of a secondary's Merkle diff from the live state. Writes go on meanwhile: whatever changes after the
 * round's pinned position reaches the secondary again with the log, so answers need not fit each other.
 */
import { ENTRY_BYTES, KEY_ID_BYTES } from '../merkle/leaf.ts'
import { MESSAGE_LIMITS } from '../message-parser.ts'
import type { EntryGroup, GetKeys, GetNodes, GetRoots, GetSketch, GetSubtree, NodeItem } from '../messages.ts'
import type { HashKey } from '../sketch/item-hash.ts'
import type { PartitionId } from '../types.ts'
import type { PrimaryComponents, PrimaryEffect, PrimaryEvent } from './contract.ts'
import type { Shipping } from './shipping.ts'
import { sketchAnswer } from './sketch-answer.ts'

/** Fetches a secondary may have open at once. */
export const MAX_FETCHES = 32
/** Entries of one answer at most. */
const ANSWER_ENTRIES = 512
/** Entries read at once: bounds what is in memory when values are large. */
const READ_ENTRIES = 64

export interface DiffServer {
  roots(message: GetRoots): PrimaryEffect[]
  nodes(message: GetNodes): PrimaryEffect[]
  sketch(message: GetSketch): PrimaryEffect[]
  /** Undefined when too many are open. */
  fetch(message: GetKeys | GetSubtree): PrimaryEffect[] | undefined
  onEntries(event: Extract<PrimaryEvent, { type: 'entries' }>): PrimaryEffect[]
}

export interface DiffServerContext {
  components: PrimaryComponents
  shipping: Shipping
  answerBytes: number
  round: number
  sketchKey: HashKey
  nextId(): number
}

interface Fetch {
  /** The secondary's number. */
  id: number
  group: EntryGroup
  bytes: number
  /** Key ids of the answer, in order, and how many of them were read or are being read. */
  keyIds: readonly Uint8Array[]
  requested: number
  /** There are more behind `keyIds`. */
  more: boolean
}

export function diffServer(context: DiffServerContext): DiffServer {
  const { components, shipping, round } = context
  const { forest } = components
  const fetches = new Map<number, Fetch>()

  const answer = ({ id, group, keyIds, requested, more }: Fetch): PrimaryEffect => {
    const next = more || requested < keyIds.length ? keyIds[requested - 1]! : null
    return { type: 'send', message: { type: 'entries', round, id, group, next } }
  }

  const advance = (fetch: Fetch): PrimaryEffect => {
    const { group, keyIds, requested } = fetch
    if (requested >= keyIds.length || fetch.bytes >= context.answerBytes) return answer(fetch)
    const wanted = keyIds.slice(requested, requested + READ_ENTRIES)
    fetch.requested += wanted.length
    const readId = context.nextId()
    fetches.set(readId, fetch)
    return { type: 'read-entries', id: readId, partition: group.partition, keyIds: wanted }
  }

  return {
    roots({ after }) {
      const shipped = forest.partitions().filter((id) => id > after && shipping.shipsPartition(id))
      const items = shipped
        .slice(0, MESSAGE_LIMITS.partitionsPerMessage)
        .map((partition) => ({ partition, count: forest.count(partition), root: forest.root(partition) }))
      const more = shipped.length > items.length
      return [{ type: 'send', message: { type: 'roots', round, items, more } }]
    },

    nodes({ id, partition, paths }) {
      const shipped = shipping.shipsPartition(partition)
      const nodes = paths.map((path) => (shipped ? nodeItem(components, partition, path) : EMPTY_NODE))
      return [{ type: 'send', message: { type: 'nodes', round, id, nodes } }]
    },

    sketch(message) {
      const shown = shipping.shipsPartition(message.partition)
      return [{ type: 'send', message: sketchAnswer({ forest, shown, key: context.sketchKey }, message) }]
    },

    fetch(message) {
      if (fetches.size >= MAX_FETCHES) return undefined
      const { id, partition } = message
      const group: EntryGroup = { partition, mountPath: shipping.mountPathOf(partition), keys: [], values: [] }
      const found = shipping.shipsPartition(partition) ? keyIdsOf(components, message) : { keyIds: [], more: false }
      return [advance({ id, group, bytes: 0, requested: 0, ...found })]
    },

    onEntries({ id, entries }) {
      const fetch = fetches.get(id)
      if (fetch === undefined) return []
      fetches.delete(id)
      const { group } = fetch
      // The view may have changed while the entries were read; then a new round is on its way.
      if (!shipping.shipsPartition(group.partition)) return []
      for (const entry of entries) {
        if (entry === undefined) continue
        group.keys.push(entry.key)
        group.values.push(entry.value)
        fetch.bytes += entry.key.length + entry.value.length
      }
      return [advance(fetch)]
    },
  }
}

const EMPTY_NODE: NodeItem = { kind: 'empty', count: 0, bytes: new Uint8Array(0) }

function nodeItem({ forest }: PrimaryComponents, partition: PartitionId, path: string): NodeItem {
  const node = forest.node(partition, path)
  switch (node.kind) {
    case 'empty':
      return EMPTY_NODE
    case 'inner':
      return { kind: 'inner', count: node.count, bytes: node.children }
    case 'bucket':
      return { kind: 'bucket', count: node.count, bytes: node.entries }
  }
}

function keyIdsOf({ forest }: PrimaryComponents, message: GetKeys | GetSubtree) {
  if (message.type === 'get-keys') return { keyIds: sliceAll(message.keyIds, KEY_ID_BYTES), more: false }
  const { partition, path } = message
  const after = message.after ?? undefined
  const packed = forest.entriesUnder(partition, path, { after, limit: ANSWER_ENTRIES + 1 })
  const keyIds = sliceAll(packed, ENTRY_BYTES)
  return { keyIds: keyIds.slice(0, ANSWER_ENTRIES), more: keyIds.length > ANSWER_ENTRIES }
}

/** The key ids at the start of each item of a packed array. */
function sliceAll(packed: Uint8Array, itemBytes: number): Uint8Array[] {
  const keyIds: Uint8Array[] = []
  for (let at = 0; at < packed.length; at += itemBytes) keyIds.push(packed.subarray(at, at + KEY_ID_BYTES))
  return keyIds
}
