/**
 * One round of a Merkle diff as the secondary walks it: partition roots first, then down only where hashes differ, deleting
 * what the primary does not have and fetching what differs. A subtree of which nothing is here is fetched whole.
 *
 * Every place is visited once and nothing is compared again, however fast the primary changes: what changed after the round
 * began comes with the log. So a round always ends.
 */
import type { ForestReader } from '../merkle/forest.ts'
import { ENTRY_BYTES } from '../merkle/leaf.ts'
import { MESSAGE_LIMITS } from '../message-parser.ts'
import type { Entries, Message, Nodes, Roots, Sketch } from '../messages.ts'
import type { PartitionId, WalOperation } from '../types.ts'
import { type Acceptance, operationsOf } from './acceptance.ts'
import { comparison, keyIdAt, type Place, protocol, type Violation } from './diff-comparison.ts'
import { diffFetches } from './diff-fetches.ts'
import { type DiffSketchesContext, diffSketches } from './diff-sketches.ts'

const PURGE_ENTRIES = 1024
const NODE_REQUESTS = 8
/** Places and keys that may wait before no more are looked for. */
const WAITING_PLACES = 1024
const WAITING_KEYS = 16_384
/** Fetched bytes that may wait to be applied before no more are asked for. */
const WAITING_BYTES = 8 * 1024 * 1024
/** What is taken for one write. */
const CHANGE_BYTES = 2 * 1024 * 1024
const CHANGE_ENTRIES = 4096
const ENTRY_OVERHEAD = 64

export interface Deletion {
  partition: PartitionId
  keyIds: readonly Uint8Array[]
}

export interface Changes {
  deletions: readonly Deletion[]
  entries: readonly WalOperation[]
}

export interface DiffWalker {
  /** What to ask next, as far as the bounds on open requests and waiting entries allow. */
  requests(): Message[]
  onAnswer(answer: Roots | Nodes | Sketch | Entries): Violation | undefined
  /** A bounded part of what is to be written. */
  takeChanges(): Changes | undefined
  /** Everything was compared, fetched and taken. */
  readonly done: boolean
  /** Whether anything was learned from a sketch. */
  readonly sketched: boolean
  /** Whether anything was found to differ. */
  readonly syncing: boolean
  /** Entries fetched, and known to be needed so far. */
  readonly progress: number
  readonly total: number
}

export function diffWalker(
  components: {
    forest: ForestReader
    acceptance: Acceptance
    /** Told of entries fetched and of deletions. */
    differed(partition: PartitionId, keys: number): void
  },
  options: {
    round: number
    fetches: number
    /** Undefined when the trie is to tell alone. */
    sketches: Pick<DiffSketchesContext, 'key' | 'sizes'> | undefined
  },
): DiffWalker {
  const { forest, acceptance, differed } = components
  const { round } = options
  let lastId = 0
  const nextId = () => ++lastId
  const fetches = diffFetches(round, nextId)
  /** `after` of the next get-roots; undefined when all roots are known. */
  let rootsAfter: PartitionId | undefined = ''
  let rootsAsked = false
  const places: (Place & { plain: boolean })[] = []
  const openNodes = new Map<number, { partition: PartitionId; paths: readonly string[]; plain: boolean }>()
  const purges: { place: Place; after: Uint8Array | undefined }[] = []
  let deletions: Deletion[] = []
  let deletionCount = 0
  let entries: WalOperation[] = []
  let entryBytes = 0
  /** The nodes being compared are parts of what no sketch could tell. */
  let comparingPlain = false
  let syncing = false
  let progress = 0
  let total = 0

  const remove = (partition: PartitionId, keyIds: readonly Uint8Array[]): void => {
    if (keyIds.length === 0) return
    syncing = true
    differed(partition, keyIds.length)
    deletions.push({ partition, keyIds })
    deletionCount += keyIds.length
  }

  const found = (partition: PartitionId, wanted: readonly Uint8Array[], superfluous: readonly Uint8Array[]): void => {
    syncing ||= wanted.length > 0
    total += wanted.length
    fetches.keys(partition, wanted)
    remove(partition, superfluous)
  }

  const descend = (place: Place) => places.push({ ...place, plain: true })
  const sketches = options.sketches && diffSketches({ ...options.sketches, forest, round, nextId, found, descend })

  const compare = comparison(forest, acceptance, {
    differing(place, alike) {
      const plain = comparingPlain || !alike
      if (plain || !sketches?.offer(place)) places.push({ ...place, plain })
    },
    compared: (some, all, entries) => sketches?.compared(some, all, entries),
    superfluous: (place) => purges.push({ place, after: undefined }),
    missing(place, count) {
      syncing = true
      total += count
      fetches.subtree(place, count)
    },
    entries: found,
  })

  const descending = () => rootsAfter !== undefined || places.length > 0 || openNodes.size > 0
  const comparing = () => descending() || sketches?.done === false
  const full = () => entryBytes >= WAITING_BYTES || deletionCount >= CHANGE_ENTRIES

  /** Turns places to be emptied into deletions, a bounded number at a time. */
  const purge = (): void => {
    while (purges.length > 0 && deletionCount < CHANGE_ENTRIES) {
      const { place, after } = purges.pop()!
      const packed = forest.entriesUnder(place.partition, place.path, { after, limit: PURGE_ENTRIES })
      const keyIds: Uint8Array[] = []
      for (let at = 0; at < packed.length; at += ENTRY_BYTES) keyIds.push(keyIdAt(packed, at))
      remove(place.partition, keyIds)
      if (keyIds.length === PURGE_ENTRIES) purges.push({ place, after: keyIds.at(-1)! })
    }
  }

  const nextNodes = (): Message => {
    const { partition, plain } = places.at(-1)!
    const paths: string[] = []
    while (paths.length < MESSAGE_LIMITS.nodesPerMessage) {
      const next = places.at(-1)
      if (next?.partition !== partition || next.plain !== plain) break
      paths.push(places.pop()!.path)
    }
    const id = nextId()
    openNodes.set(id, { partition, paths, plain })
    return { type: 'get-nodes', round, id, partition, paths }
  }

  const onRoots = (answer: Roots): Violation | undefined => {
    if (!rootsAsked || rootsAfter === undefined) return protocol('roots that were not asked for')
    rootsAsked = false
    const result = compare.roots(answer, rootsAfter)
    if ('code' in result) return result
    rootsAfter = result.next
    return undefined
  }

  const onNodes = ({ id, nodes }: Nodes): Violation | undefined => {
    const asked = openNodes.get(id)
    openNodes.delete(id)
    if (asked?.paths.length !== nodes.length) return protocol('nodes that were not asked for')
    comparingPlain = asked.plain
    for (const [i, node] of nodes.entries()) {
      const violation = compare.node({ partition: asked.partition, path: asked.paths[i]! }, node)
      if (violation) return violation
    }
    comparingPlain = false
    return undefined
  }

  const onEntries = (answer: Entries): Violation | undefined => {
    const result = fetches.onAnswer(answer)
    if ('code' in result) return result
    const refusal = acceptance.refusal(answer.group)
    if (refusal) return { code: 'not-accepted', message: refusal }
    // Deleted since it was compared. What is here may be older than the place this round will claim, so it cannot wait for the log.
    const { partition } = answer.group
    remove(
      partition,
      result.gone.filter((keyId) => forest.get(partition, keyId) !== undefined),
    )
    for (const operation of operationsOf(answer.group)) {
      entries.push(operation)
      entryBytes += costOf(operation)
    }
    progress += answer.group.keys.length
    if (answer.group.keys.length > 0) differed(answer.group.partition, answer.group.keys.length)
    return undefined
  }

  return {
    requests() {
      const messages: Message[] = []
      purge()
      if (rootsAfter !== undefined && !rootsAsked && places.length < WAITING_PLACES && !full()) {
        rootsAsked = true
        messages.push({ type: 'get-roots', round, after: rootsAfter })
      }
      // Before the nodes, as it may leave places to them.
      while (sketches && fetches.waitingKeys < WAITING_KEYS && !full()) {
        const message = sketches.next(descending())
        if (message === undefined) break
        messages.push(message)
      }
      while (places.length > 0 && openNodes.size < NODE_REQUESTS && fetches.waitingKeys < WAITING_KEYS && !full()) {
        messages.push(nextNodes())
      }
      while (fetches.open < options.fetches && !full()) {
        const message = fetches.next(comparing())
        if (message === undefined) break
        messages.push(message)
      }
      return messages
    },

    onAnswer(answer) {
      switch (answer.type) {
        case 'roots':
          return onRoots(answer)
        case 'nodes':
          return onNodes(answer)
        case 'sketch':
          return sketches ? sketches.onAnswer(answer) : protocol('a sketch that was not asked for')
        case 'entries':
          return onEntries(answer)
      }
    },

    takeChanges() {
      if (deletions.length === 0 && entries.length === 0) return undefined
      let bytes = 0
      let count = 0
      while (count < entries.length && bytes < CHANGE_BYTES && count < CHANGE_ENTRIES)
        bytes += costOf(entries[count++]!)
      const changes: Changes = { deletions, entries: entries.slice(0, count) }
      entries = entries.slice(count)
      entryBytes -= bytes
      deletions = []
      deletionCount = 0
      return changes
    },

    get done() {
      return !comparing() && fetches.done && purges.length + deletions.length + entries.length === 0
    },
    get sketched() {
      return sketches?.used ?? false
    },
    get syncing() {
      return syncing
    },
    get progress() {
      return progress
    },
    get total() {
      return Math.max(total, progress)
    },
  }
}

function costOf({ key, value }: WalOperation): number {
  return ENTRY_OVERHEAD + key.length + (value?.length ?? 0)
}
