/** What a Merkle diff has to fetch: subtrees as a whole, and single keys. Makes the requests and checks the answers. */
import { compareKeyIds, HEX_DIGITS, isUnder, KEY_ID_BYTES, keyIdOf } from '../merkle/leaf.ts'
import type { Entries, GetKeys, GetSubtree } from '../messages.ts'
import type { PartitionId } from '../types.ts'
import { type Place, protocol, type Violation } from './diff-comparison.ts'

/** Entries to ask for at once. */
const FETCH_ENTRIES = 512

export interface DiffFetches {
  /** Requests that wait for an answer. */
  readonly open: number
  /** Nothing is open and nothing waits to be asked. */
  readonly done: boolean
  readonly waitingKeys: number
  subtree(place: Place, count: number): void
  keys(partition: PartitionId, keyIds: readonly Uint8Array[]): void
  /** The next request; with `more`, single keys wait until there are enough of them for one. */
  next(more: boolean): GetKeys | GetSubtree | undefined
  /**
   * Checks that the answer holds what was asked for and nothing else, and notes what is left to ask. `gone`: keys asked for by name that
   * the primary does not have any more.
   */
  onAnswer(answer: Entries): { gone: readonly Uint8Array[] } | Violation
}

interface Subtree extends Place {
  after: Uint8Array | null
  /** Entries it is thought to hold. */
  count: number
}

type Open = { message: GetKeys; ids: readonly Uint8Array[] } | { message: GetSubtree; count: number }

export function diffFetches(round: number, nextId: () => number): DiffFetches {
  const subtrees: Subtree[] = []
  const wanted = new Map<PartitionId, Uint8Array[]>()
  const open = new Map<number, Open>()
  let waitingKeys = 0

  const want = (partition: PartitionId, keyIds: readonly Uint8Array[]): void => {
    if (keyIds.length === 0) return
    const list = wanted.get(partition)
    if (list) for (const keyId of keyIds) list.push(keyId)
    else wanted.set(partition, [...keyIds])
    waitingKeys += keyIds.length
  }

  const nextSubtree = (): GetSubtree | undefined => {
    for (let subtree = subtrees.pop(); subtree; subtree = subtrees.pop()) {
      const { partition, path, after, count } = subtree
      if (count <= FETCH_ENTRIES || after !== null || path.length >= KEY_ID_BYTES * 2) {
        const message: GetSubtree = { type: 'get-subtree', round, id: nextId(), partition, path, after }
        open.set(message.id, { message, count })
        return message
      }
      // In parts, so that several can be under way at once.
      for (const digit of HEX_DIGITS) subtrees.push({ partition, path: path + digit, after, count: count / 16 })
    }
    return undefined
  }

  const nextKeys = (more: boolean): GetKeys | undefined => {
    for (const [partition, list] of wanted) {
      if (list.length < FETCH_ENTRIES && more) continue
      const ids = list.splice(0, FETCH_ENTRIES).sort((a, b) => compareKeyIds(a, 0, b, 0))
      if (list.length === 0) wanted.delete(partition)
      waitingKeys -= ids.length
      const message: GetKeys = { type: 'get-keys', round, id: nextId(), partition, keyIds: Buffer.concat(ids) }
      open.set(message.id, { message, ids })
      return message
    }
    return undefined
  }

  /** Notes what lies behind `next`; false when the answer brought the fetch no further. */
  const continueAfter = (fetch: Open, next: Uint8Array): boolean => {
    if ('ids' in fetch) {
      const rest = fetch.ids.filter((keyId) => compareKeyIds(keyId, 0, next, 0) > 0)
      want(fetch.message.partition, rest)
      return rest.length < fetch.ids.length
    }
    const { partition, path, after } = fetch.message
    subtrees.push({ partition, path, after: next, count: fetch.count })
    return isUnder(path, next) && (after === null || compareKeyIds(next, 0, after, 0) > 0)
  }

  return {
    get open() {
      return open.size
    },
    get waitingKeys() {
      return waitingKeys
    },
    get done() {
      return open.size === 0 && subtrees.length === 0 && waitingKeys === 0
    },
    subtree: ({ partition, path }, count) => {
      subtrees.push({ partition, path, after: null, count })
    },
    keys: want,
    next: (more) => nextSubtree() ?? nextKeys(more),
    onAnswer({ id, group, next }) {
      const fetch = open.get(id)
      if (fetch === undefined) return protocol('entries that were not asked for')
      open.delete(id)
      if (group.partition !== fetch.message.partition) return protocol('entries of another partition')
      if (!holdsOnlyWanted(fetch, group.keys)) return protocol('entries that were not asked for')
      if (group.values.includes(null)) return protocol('a deletion among fetched entries')
      if (next !== null && !continueAfter(fetch, next)) return protocol('a fetch that does not advance')
      return { gone: 'ids' in fetch ? unanswered(fetch.ids, group.keys, next) : [] }
    },
  }
}

/** Of the ids up to `next` those of which the answer has no key; both are in order. */
function unanswered(ids: readonly Uint8Array[], keys: readonly string[], next: Uint8Array | null): Uint8Array[] {
  const answered = keys.map((key) => keyIdOf(key))
  let at = 0
  return ids.filter((id) => {
    if (next !== null && compareKeyIds(id, 0, next, 0) > 0) return false
    const found = at < answered.length && compareKeyIds(answered[at]!, 0, id, 0) === 0
    if (found) at++
    return !found
  })
}

/** Whether the answer's keys are, in order, some of those asked for. */
function holdsOnlyWanted(fetch: Open, keys: readonly string[]): boolean {
  if ('ids' in fetch) {
    let at = 0
    return keys.every((key) => {
      const keyId = keyIdOf(key)
      while (at < fetch.ids.length && compareKeyIds(fetch.ids[at]!, 0, keyId, 0) < 0) at++
      return at < fetch.ids.length && compareKeyIds(fetch.ids[at++]!, 0, keyId, 0) === 0
    })
  }
  const { path, after } = fetch.message
  let previous = after
  return keys.every((key) => {
    const keyId = keyIdOf(key)
    const ascends = previous === null || compareKeyIds(previous, 0, keyId, 0) < 0
    previous = keyId
    return ascends && isUnder(path, keyId)
  })
}
