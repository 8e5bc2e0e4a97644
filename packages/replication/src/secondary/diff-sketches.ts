/**
 * The part of a Merkle diff that asks for sketches: of subtrees that differ, that are large enough for descending to be dear and
 * small enough to be sketched in a few milliseconds. Several of them share a sketch when few differences are expected in each, as
 * larger differences need fewer symbols for each item. What a sketch cannot tell is left to the trie.
 */
import type { ForestReader } from '../merkle/forest.ts'
import { isUnder } from '../merkle/leaf.ts'
import { MESSAGE_LIMITS } from '../message-parser.ts'
import type { GetSketch, Sketch } from '../messages.ts'
import type { HashKey } from '../sketch/item-hash.ts'
import { estimateDifference, peel, type SketchItem } from '../sketch/peel.ts'
import { addEntries, decodeSymbols, emptySketch, MAX_SYMBOLS, subtract } from '../sketch/sketch.ts'
import { moreSymbols, symbolsFor } from '../sketch/symbol-count.ts'
import type { PartitionId } from '../types.ts'
import { sameDigest } from '../wal/cursor.ts'
import { type Place, protocol, type Violation } from './diff-comparison.ts'

export const SKETCHED = {
  /** A smaller subtree is a node and a bucket or two. */
  minEntries: 256,
  /** Of one sketch: about 7 ms of work at either end. */
  maxEntries: 24_576,
} as const
/** Items expected in one sketch at most; with more, subtrees gain nothing by sharing one. */
const MAX_SHARED_ITEMS = 512
/** With more items for each entry, buckets are as cheap as symbols. */
const MAX_DENSITY = 1
/** Sketches asked for at once; as long as nothing is known about the number of differences, one. */
const REQUESTS = 8
/** Symbols of the first sketch when nothing at all is known. */
const FIRST_SYMBOLS = 48

export interface DiffSketches {
  readonly open: number
  readonly done: boolean
  /** Whether any answer was used. */
  readonly used: boolean
  /** Takes a differing place on, or leaves it to the trie. */
  offer(place: Place): boolean
  /** Of `all` places with `entries` entries in total that a sketch could have been used for, `differing` differ. */
  compared(differing: number, all: number, entries: number): void
  /** The next request; with `more`, what there is waits until it is enough for one. */
  next(more: boolean): GetSketch | undefined
  onAnswer(answer: Sketch): Violation | undefined
}

export interface DiffSketchesContext {
  forest: ForestReader
  round: number
  key: HashKey
  /** Entries of a subtree that is sketched; `maxEntries` is also the limit of one sketch. */
  sizes: { minEntries: number; maxEntries: number }
  nextId(): number
  found(partition: PartitionId, wanted: readonly Uint8Array[], superfluous: readonly Uint8Array[]): void
  /** The trie has to tell. */
  descend(place: Place): void
}

interface Request {
  message: GetSketch
  /** Symbols of the same state that came before. */
  had: readonly Uint8Array[]
}

export function diffSketches(context: DiffSketchesContext): DiffSketches {
  const { forest, round, key } = context
  const { minEntries, maxEntries } = context.sizes
  const waiting: Place[] = []
  const again: Request[] = []
  const open = new Map<number, Request>()
  let used = false
  const density = densityEstimate(maxEntries)

  const request = (partition: PartitionId, paths: string[], symbols: number): Request => {
    const message: GetSketch = {
      type: 'get-sketch',
      round,
      id: context.nextId(),
      partition,
      paths,
      first: 0,
      state: null,
      symbols,
    }
    return { message, had: [] }
  }

  const nextGroup = (more: boolean): Request | undefined => {
    // Too much differs after all.
    while (waiting.length > 0 && density.tooHigh) context.descend(waiting.pop()!)
    if (waiting.length === 0) return undefined
    const { partition } = waiting.at(-1)!
    const paths: string[] = []
    let entries = 0
    let items = 0
    let enough = false
    for (let at = waiting.length - 1; at >= 0 && !enough; at--) {
      const place = waiting[at]!
      if (place.partition !== partition) break
      const count = forest.count(partition, place.path)
      const expected = density.itemsIn(count)
      enough =
        paths.length === MESSAGE_LIMITS.sketchPaths ||
        (paths.length > 0 && (entries + count > maxEntries || items + expected > MAX_SHARED_ITEMS))
      if (enough) break
      paths.push(place.path)
      entries += count
      items += expected
    }
    if (more && !enough) return undefined
    waiting.length -= paths.length
    const symbols = density.known ? symbolsFor(items) : Math.max(FIRST_SYMBOLS, symbolsFor(items))
    return request(partition, paths, Math.min(symbols, MAX_SYMBOLS))
  }

  const ourSketch = ({ partition, paths }: GetSketch, length: number) => {
    const sketch = emptySketch(length)
    for (const path of paths) addEntries(sketch, forest.entriesUnder(partition, path), key)
    return sketch
  }

  const isOurs = (partition: PartitionId, { keyId, digest }: SketchItem): boolean => {
    const leaf = forest.get(partition, keyId)
    return leaf !== undefined && sameDigest(leaf.subarray(0, digest.length), digest)
  }

  const descend = ({ partition, paths }: GetSketch): void => {
    for (const path of paths) context.descend({ partition, path })
  }

  const retry = (message: GetSketch, symbols: Uint8Array[], length: number, state: Uint8Array, items: number): void => {
    const wanted = moreSymbols(length, items)
    if (wanted > MAX_SYMBOLS || density.tooHigh) {
      descend(message)
    } else {
      again.push({
        message: { ...message, id: context.nextId(), first: length, state, symbols: wanted - length },
        had: symbols,
      })
    }
  }

  const read = ({ message, had }: Request, answer: Sketch): Violation | undefined => {
    const { partition, paths } = message
    const kept = answer.first === 0 ? [] : had
    const asked = message.first + message.symbols
    const symbols = [...kept, answer.symbols]
    const theirs = decodeSymbols(Buffer.concat(symbols))
    if (theirs.length !== asked) return protocol('a sketch of another size than asked for')
    const count = paths.reduce((sum, path) => sum + forest.count(partition, path), 0)
    const left = subtract(theirs, ourSketch(message, asked))
    const estimate = estimateDifference(left, answer.count - count)
    const difference = peel(left, key)
    if (difference === undefined) {
      density.learned(estimate, count)
      retry(message, symbols, asked, answer.state, estimate)
      return undefined
    }
    const inPlace = difference.theirs.every(({ keyId }) => paths.some((path) => isUnder(path, keyId)))
    if (!inPlace || !difference.ours.every((item) => isOurs(partition, item))) {
      // Not our difference, whatever it is.
      descend(message)
      return undefined
    }
    used = true
    density.learned(difference.theirs.length + difference.ours.length, count)
    const wanted = difference.theirs.map(({ keyId }) => keyId)
    const changed = new Set(wanted.map(nameOf))
    const superfluous = difference.ours.map(({ keyId }) => keyId).filter((keyId) => !changed.has(nameOf(keyId)))
    context.found(partition, wanted, superfluous)
    return undefined
  }

  return {
    get open() {
      return open.size
    },
    get done() {
      return open.size === 0 && waiting.length === 0 && again.length === 0
    },
    get used() {
      return used
    },
    offer(place) {
      const count = forest.count(place.partition, place.path)
      if (count < minEntries || count > maxEntries || density.tooHigh) return false
      waiting.push(place)
      return true
    },
    compared: density.compared,
    next(more) {
      if (open.size >= (density.known ? REQUESTS : 1)) return undefined
      const next = again.pop() ?? nextGroup(more)
      if (next) open.set(next.message.id, next)
      return next?.message
    },
    onAnswer(answer) {
      const asked = open.get(answer.id)
      open.delete(answer.id)
      if (asked === undefined) return protocol('a sketch that was not asked for')
      if (answer.first !== 0 && answer.first !== asked.message.first) return protocol('a sketch from elsewhere')
      if (answer.symbols.length > 0) return read(asked, answer)
      descend(asked.message)
      return undefined
    },
  }
}

/** How many items of difference there are for each entry, as far as is known. */
function densityEstimate(maxEntries: number) {
  let items = 0
  let entries = 0
  let differing = 0
  let places = 0
  let placedEntries = 0
  return {
    /** Whether it is more than a lower bound. */
    get known(): boolean {
      return entries > 0 || differing < places
    },
    get tooHigh(): boolean {
      return entries > 0 && items > MAX_DENSITY * entries
    },
    learned(found: number, among: number): void {
      items += found
      entries += among
    },
    compared(some: number, all: number, among: number): void {
      if (among > all * maxEntries) return // too large to be sketched, and so all the less telling
      differing += some
      places += all
      placedEntries += among
    },
    itemsIn(count: number): number {
      if (entries > 0) return (items / entries) * count
      if (places === 0) return 0
      // Changes fall into places like balls into bins, and only places that got some are asked about. Each change is two items.
      const perPlace = -Math.log(Math.max(places - differing, 0.5) / places)
      const perDiffering = (perPlace * places) / Math.max(differing, 1)
      return ((2 * perDiffering * places) / placedEntries) * count
    },
  }
}

function nameOf(keyId: Uint8Array): string {
  return Buffer.from(keyId.buffer, keyId.byteOffset, keyId.byteLength).toString('latin1')
}
