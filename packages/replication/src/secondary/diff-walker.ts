/**
 * One round of a Merkle diff as the secondary walks it: partition roots first, then down only where hashes differ, deleting
 * what the primary does not have and fetching what differs. A subtree of which nothing is here is fetched whole.
 *
 * Every place is visited once and nothing is compared again, however fast the primary changes: what changed after the round
 * began comes with the log. So a round always ends.
 */

import type { ForestReader } from '../merkle/forest.ts'
import { compareKeyIds, ENTRY_BYTES, HEX_DIGITS, isUnder, KEY_ID_BYTES, keyIdOf } from '../merkle/leaf.ts'
import { NODE_HASH_BYTES } from '../merkle/trie.ts'
import { MESSAGE_LIMITS } from '../message-parser.ts'
import type { Entries, GetKeys, GetSubtree, Message, NodeItem, Nodes, Roots } from '../messages.ts'
import type { PartitionId, WalOperation } from '../types.ts'
import { sameDigest } from '../wal/cursor.ts'
import { type Acceptance, operationsOf } from './acceptance.ts'

/** Entries to ask for at once. */
const FETCH_ENTRIES = 512
const PURGE_ENTRIES = 1024
const NODE_REQUESTS = 8
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
  deletions: Deletion[]
  entries: WalOperation[]
}

/** Why the primary's answer ends the link. */
export interface Violation {
  code: 'protocol' | 'not-accepted'
  message: string
}

export interface DiffWalker {
  /** What to ask next, as far as the bounds on open requests and waiting entries allow. */
  requests(): Message[]
  onAnswer(answer: Roots | Nodes | Entries): Violation | undefined
  /** A bounded part of what is to be written. */
  takeChanges(): Changes | undefined
  /** Everything was compared, fetched and taken. */
  readonly done: boolean
  /** Whether anything was found to differ. */
  readonly syncing: boolean
  readonly progress: number
  readonly total: number
}

interface Place {
  partition: PartitionId
  path: string
}

interface Subtree extends Place {
  after: Uint8Array | null
  /** Entries it is thought to hold. */
  count: number
}

type Fetch = { message: GetKeys; ids: readonly Uint8Array[] } | { message: GetSubtree; count: number }

export function diffWalker(
  components: { forest: ForestReader; acceptance: Acceptance },
  options: { round: number; fetches: number },
): DiffWalker {
  const { forest, acceptance } = components
  const { round } = options
  let lastId = 0
  /** `after` of the next get-roots; undefined when all roots are known. */
  let rootsAfter: string | undefined = ''
  let askedRoots = false
  const places: Place[] = []
  const subtrees: Subtree[] = []
  const purges: (Place & { after: Uint8Array | undefined })[] = []
  /** Key ids to fetch, by partition. */
  const keys = new Map<PartitionId, Uint8Array[]>()
  let keyCount = 0
  const openNodes = new Map<number, { partition: PartitionId; paths: string[] }>()
  const openFetches = new Map<number, Fetch>()
  let deletions: Deletion[] = []
  let deletionCount = 0
  let entries: WalOperation[] = []
  let waitingBytes = 0
  let syncing = false
  let progress = 0
  let total = 0

  const comparing = () => rootsAfter !== undefined || places.length > 0 || openNodes.size > 0

  // ------------------------------------------------------------------ asking

  const purge = (): void => {
    while (purges.length > 0 && deletionCount < CHANGE_ENTRIES) {
      const { partition, path, after } = purges.pop()!
      const packed = forest.entriesUnder(partition, path, { after, limit: PURGE_ENTRIES })
      if (packed.length === 0) continue
      const keyIds = keyIdsIn(packed)
      remove(partition, keyIds)
      purges.push({ partition, path, after: keyIds.at(-1)! })
    }
  }

  const remove = (partition: PartitionId, keyIds: readonly Uint8Array[]): void => {
    if (keyIds.length === 0) return
    syncing = true
    deletions.push({ partition, keyIds })
    deletionCount += keyIds.length
  }

  const wantKeys = (partition: PartitionId, keyIds: readonly Uint8Array[]): void => {
    if (keyIds.length === 0) return
    const wanted = keys.get(partition)
    if (wanted) for (const keyId of keyIds) wanted.push(keyId)
    else keys.set(partition, [...keyIds])
    keyCount += keyIds.length
  }

  const nextNodes = (): Message => {
    const { partition } = places.at(-1)!
    const paths: string[] = []
    while (paths.length < MESSAGE_LIMITS.nodesPerMessage && places.at(-1)?.partition === partition) {
      paths.push(places.pop()!.path)
    }
    const id = ++lastId
    openNodes.set(id, { partition, paths })
    return { type: 'get-nodes', round, id, partition, paths }
  }

  const nextFetch = (): Message | undefined => {
    syncing ||= subtrees.length > 0 || keyCount > 0
    for (let subtree = subtrees.pop(); subtree; subtree = subtrees.pop()) {
      const { partition, path, after, count } = subtree
      if (count <= FETCH_ENTRIES || after !== null || path.length >= KEY_ID_BYTES * 2) {
        const message: GetSubtree = { type: 'get-subtree', round, id: ++lastId, partition, path, after }
        openFetches.set(message.id, { message, count })
        return message
      }
      // In parts, so that several can be under way at once.
      for (const digit of HEX_DIGITS) subtrees.push({ partition, path: path + digit, after, count: count / 16 })
    }
    for (const [partition, wanted] of keys) {
      if (wanted.length < FETCH_ENTRIES && comparing()) continue
      const ids = wanted.splice(0, FETCH_ENTRIES).sort((a, b) => compareKeyIds(a, 0, b, 0))
      if (wanted.length === 0) keys.delete(partition)
      keyCount -= ids.length
      const message: GetKeys = { type: 'get-keys', round, id: ++lastId, partition, keyIds: Buffer.concat(ids) }
      openFetches.set(message.id, { message, ids })
      return message
    }
    return undefined
  }

  // --------------------------------------------------------------- comparing

  const onRoots = (answer: Roots): Violation | undefined => {
    if (!askedRoots || rootsAfter === undefined) return unasked(answer)
    askedRoots = false
    let previous = rootsAfter
    const listed = new Set<PartitionId>()
    for (const { partition, count, root } of answer.items) {
      if (partition <= previous) return { code: 'protocol', message: 'roots out of order' }
      if (!acceptance.inScope(partition)) {
        return { code: 'not-accepted', message: `${partition} does not belong on this link` }
      }
      previous = partition
      listed.add(partition)
      if (sameDigest(root, forest.root(partition))) continue
      if (forest.count(partition) > 0) {
        places.push({ partition, path: '' })
      } else {
        subtrees.push({ partition, path: '', after: null, count })
        total += count
      }
    }
    if (answer.more && answer.items.length === 0) return { code: 'protocol', message: 'roots without end' }
    for (const partition of forest.partitions()) {
      if (partition <= rootsAfter || (answer.more && partition > previous)) continue
      if (!listed.has(partition) && acceptance.inScope(partition))
        purges.push({ partition, path: '', after: undefined })
    }
    rootsAfter = answer.more ? previous : undefined
    return undefined
  }

  const onNodes = (answer: Nodes): Violation | undefined => {
    const asked = openNodes.get(answer.id)
    if (asked === undefined) return unasked(answer)
    openNodes.delete(answer.id)
    const { partition, paths } = asked
    if (answer.nodes.length !== paths.length)
      return { code: 'protocol', message: 'nodes differ in number from those asked' }
    for (const [i, node] of answer.nodes.entries()) {
      const violation = compareNode({ partition, path: paths[i]! }, node)
      if (violation) return violation
    }
    return undefined
  }

  const compareNode = (place: Place, node: NodeItem): Violation | undefined => {
    switch (node.kind) {
      case 'empty':
        purges.push({ ...place, after: undefined })
        return undefined
      case 'bucket':
        return compareBucket(place, node.bytes)
      case 'inner':
        if (place.path.length >= KEY_ID_BYTES * 2) return { code: 'protocol', message: 'a tree too deep' }
        compareInner(place, node)
        return undefined
    }
  }

  const compareInner = ({ partition, path }: Place, node: NodeItem): void => {
    for (let nibble = 0; nibble < 16; nibble++) {
      const child: Place = { partition, path: path + HEX_DIGITS[nibble]! }
      const theirs = node.bytes.subarray(nibble * NODE_HASH_BYTES, (nibble + 1) * NODE_HASH_BYTES)
      const ours = forest.hashAt(partition, child.path)
      if (sameDigest(theirs, ours)) continue
      if (isZero(theirs)) {
        purges.push({ ...child, after: undefined })
      } else if (isZero(ours)) {
        const count = Math.ceil(node.count / 16)
        subtrees.push({ ...child, after: null, count })
        total += count
      } else {
        places.push(child)
      }
    }
  }

  const compareBucket = ({ partition, path }: Place, theirs: Uint8Array): Violation | undefined => {
    const ours = forest.entriesUnder(partition, path)
    const superfluous: Uint8Array[] = []
    const wanted: Uint8Array[] = []
    let at = 0
    for (let there = 0; there < theirs.length; there += ENTRY_BYTES) {
      const ascends = there === 0 || compareKeyIds(theirs, there - ENTRY_BYTES, theirs, there) < 0
      if (!ascends || !isUnder(path, theirs, there)) return { code: 'protocol', message: 'a bucket out of order' }
      while (at < ours.length && compareKeyIds(ours, at, theirs, there) < 0) {
        superfluous.push(ours.subarray(at, at + KEY_ID_BYTES))
        at += ENTRY_BYTES
      }
      const entry = theirs.subarray(there, there + ENTRY_BYTES)
      if (at < ours.length && compareKeyIds(ours, at, theirs, there) === 0) {
        at += ENTRY_BYTES
        if (sameDigest(entry, ours.subarray(at - ENTRY_BYTES, at))) continue
      }
      wanted.push(entry.slice(0, KEY_ID_BYTES))
    }
    for (; at < ours.length; at += ENTRY_BYTES) superfluous.push(ours.subarray(at, at + KEY_ID_BYTES))
    remove(partition, superfluous)
    wantKeys(partition, wanted)
    total += wanted.length
    return undefined
  }

  const onEntries = (answer: Entries): Violation | undefined => {
    const fetch = openFetches.get(answer.id)
    if (fetch === undefined) return unasked(answer)
    openFetches.delete(answer.id)
    const { group, next } = answer
    if (group.partition !== fetch.message.partition)
      return { code: 'protocol', message: 'entries of another partition' }
    if (!holdsOnlyWanted(fetch, group.keys)) return { code: 'protocol', message: 'entries that were not asked for' }
    const refusal = acceptance.refusal(group)
    if (refusal) return { code: 'not-accepted', message: refusal }
    for (const operation of operationsOf(group)) {
      if (operation.value === undefined) return { code: 'protocol', message: 'a deletion among fetched entries' }
      entries.push(operation)
      waitingBytes += ENTRY_OVERHEAD + operation.key.length + operation.value.length
    }
    progress += group.keys.length
    if (next === null) return undefined
    return continueAfter(fetch, next) ? undefined : { code: 'protocol', message: 'a fetch that does not advance' }
  }

  const continueAfter = (fetch: Fetch, next: Uint8Array): boolean => {
    if ('ids' in fetch) {
      const rest = fetch.ids.filter((keyId) => compareKeyIds(keyId, 0, next, 0) > 0)
      wantKeys(fetch.message.partition, rest)
      return rest.length < fetch.ids.length
    }
    const { partition, path, after } = fetch.message
    subtrees.push({ partition, path, after: next, count: fetch.count })
    return isUnder(path, next) && (after === null || compareKeyIds(next, 0, after, 0) > 0)
  }

  return {
    requests() {
      const messages: Message[] = []
      purge()
      const full = () => waitingBytes >= WAITING_BYTES || deletionCount >= CHANGE_ENTRIES
      if (rootsAfter !== undefined && !askedRoots && places.length < 1024 && !full()) {
        askedRoots = true
        messages.push({ type: 'get-roots', round, after: rootsAfter })
      }
      const manyKeys = 32 * FETCH_ENTRIES
      while (places.length > 0 && openNodes.size < NODE_REQUESTS && keyCount < manyKeys && !full()) {
        messages.push(nextNodes())
      }
      while (openFetches.size < options.fetches && !full()) {
        const message = nextFetch()
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
        case 'entries':
          return onEntries(answer)
      }
    },

    takeChanges() {
      if (deletions.length === 0 && entries.length === 0) return undefined
      const changes: Changes = { deletions, entries: [] }
      deletions = []
      deletionCount = 0
      let bytes = 0
      let taken = 0
      while (taken < entries.length && bytes < CHANGE_BYTES && taken < CHANGE_ENTRIES) {
        const { key, value } = entries[taken]!
        bytes += ENTRY_OVERHEAD + key.length + value!.length
        taken++
      }
      changes.entries = entries.slice(0, taken)
      entries = entries.slice(taken)
      waitingBytes -= bytes
      return changes
    },

    get done() {
      const waiting = purges.length + subtrees.length + openFetches.size + deletions.length + entries.length + keyCount
      return !comparing() && waiting === 0
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

/** Whether the answer's keys are, in order, some of those asked for. */
function holdsOnlyWanted(fetch: Fetch, keys: readonly string[]): boolean {
  let previous: Uint8Array | null = 'ids' in fetch ? null : fetch.message.after
  let at = 0
  for (const key of keys) {
    const keyId = keyIdOf(key)
    if ('ids' in fetch) {
      while (at < fetch.ids.length && compareKeyIds(fetch.ids[at]!, 0, keyId, 0) < 0) at++
      if (at === fetch.ids.length || compareKeyIds(fetch.ids[at]!, 0, keyId, 0) !== 0) return false
      at++
    } else {
      if (!isUnder(fetch.message.path, keyId)) return false
      if (previous !== null && compareKeyIds(keyId, 0, previous, 0) <= 0) return false
      previous = keyId
    }
  }
  return true
}

function keyIdsIn(packed: Uint8Array): Uint8Array[] {
  const keyIds: Uint8Array[] = []
  for (let at = 0; at < packed.length; at += ENTRY_BYTES) keyIds.push(packed.subarray(at, at + KEY_ID_BYTES))
  return keyIds
}

function isZero(hash: Uint8Array): boolean {
  return hash.every((byte) => byte === 0)
}

function unasked(answer: Message): Violation {
  return { code: 'protocol', message: `${answer.type} that were not asked for` }
}
