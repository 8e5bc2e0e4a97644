import { boundsOf, folderEnd, type KeyBounds, type ListOptions, listBounds, type ScanRange } from '@lockstep/storage'
import { type Keyspace, successor } from './keyspace.ts'
import type { Compare } from './messages.ts'
import type { ReadObserver } from './snapshot-reads.ts'

/** Keys with their mod revisions that are remembered; past it ranges are compared as a whole. */
const MAX_KEYS = 64

/** A part of the keys that must not have changed. */
interface Interval {
  readonly key: Buffer
  readonly end: Buffer
}

/**
 * What a transaction has read, as comparisons that hold as long as nothing of it has changed. A range compares that no
 * key in it has a mod revision later than the snapshot; that none was deleted is told by the keys seen in it, each
 * compared by itself, or when those are too many by the one key that every deletion puts.
 */
export class ReadSet {
  readonly #keys: Keyspace
  readonly #present = new Map<string, number>()
  readonly #absent = new Set<string>()
  readonly #ranges: ObservedRange[] = []
  #overflow = false

  constructor(keys: Keyspace) {
    this.#keys = keys
  }

  /** For point reads. */
  readonly points: ReadObserver = {
    key: (key, modRevision) => {
      if (modRevision === undefined) this.#absent.add(key)
      else this.#note(key, modRevision)
    },
  }

  scan(range: ScanRange): ObservedRange {
    return this.#range(boundsOf(range), range.reverse ?? false)
  }

  list(prefix: string, options: ListOptions): ObservedRange {
    return this.#range(listBounds(prefix, options), false)
  }

  /** At most `limit` comparisons, given that all was read at `revision`. Neighbours are put together where needed. */
  compares(revision: number, limit: number): Compare[] {
    const { deleted } = this.#keys
    const ranges = this.#ranges.flatMap((range) => range.interval(this.#keys) ?? [])
    const unchanged = ({ key, end }: Interval): Compare => ({
      key,
      end,
      result: 'less',
      target: 'modify',
      value: revision + 1,
    })
    if (!this.#overflow && ranges.length + this.#present.size + this.#absent.size <= limit) {
      return [
        ...ranges.map(unchanged),
        ...[...this.#present].map(
          ([key, value]): Compare => ({ key: this.#keys.data(key), result: 'equal', target: 'modify', value }),
        ),
        ...[...this.#absent].map(
          (key): Compare => ({ key: this.#keys.data(key), result: 'equal', target: 'create', value: 0 }),
        ),
      ]
    }
    const points = [...this.#present.keys(), ...this.#absent].map((key) => ({
      key: this.#keys.data(key),
      end: this.#keys.data(successor(key)),
    }))
    return [
      ...together([...ranges, ...points], limit - 1).map(unchanged),
      { key: deleted, result: 'less', target: 'modify', value: revision + 1 },
    ]
  }

  #range(bounds: KeyBounds, reverse: boolean): ObservedRange {
    const range = new ObservedRange(bounds, reverse, (key, modRevision) => this.#note(key, modRevision))
    this.#ranges.push(range)
    return range
  }

  #note(key: string, modRevision: number): void {
    // Those of point reads are always kept: they are the transaction's own doing.
    if (this.#present.size >= MAX_KEYS) this.#overflow = true
    this.#present.set(key, modRevision)
  }
}

/** A range as far as it has been read. */
export class ObservedRange {
  readonly #bounds: KeyBounds
  readonly #reverse: boolean
  readonly #note: (key: string, modRevision: number) => void
  readonly #seen = new Map<string, number>()
  #reached: string | undefined
  #complete = false

  constructor(bounds: KeyBounds, reverse: boolean, note: (key: string, modRevision: number) => void) {
    this.#bounds = bounds
    this.#reverse = reverse
    this.#note = note
  }

  /** Hears of entries before they are handed out, maybe of more than are. */
  readonly entries: ReadObserver = {
    key: (key, modRevision) => void this.#seen.set(key, modRevision!),
  }

  /** The entry was handed out. */
  reached(key: string): void {
    this.#reached = key
    this.#take(key)
  }

  complete(): void {
    this.#complete = true
    for (const key of this.#seen.keys()) this.#take(key)
  }

  /** A listing that stopped with this child at its limit. */
  endAt(prefix: string, name: string): void {
    for (const key of this.#seen.keys()) this.#take(key)
    // The least key that is no more below the child.
    this.#reached = name.endsWith('/') ? undefined : prefix + name
    if (name.endsWith('/')) {
      this.#bounds.upper = folderEnd(prefix + name)
      this.#complete = true
    }
  }

  interval(keys: Keyspace): Interval | undefined {
    const bounds = { ...this.#bounds }
    if (!this.#complete) {
      if (this.#reached === undefined) return undefined
      if (this.#reverse) {
        bounds.lower = this.#reached
        bounds.lowerInclusive = true
      } else {
        bounds.upper = successor(this.#reached)
      }
    }
    const interval = keys.range(bounds)
    return Buffer.compare(interval.key, interval.end) < 0 ? interval : undefined
  }

  #take(key: string): void {
    const modRevision = this.#seen.get(key)
    if (modRevision === undefined) return
    this.#seen.delete(key)
    this.#note(key, modRevision)
  }
}

/** At most `count` intervals that cover the given ones. */
function together(intervals: readonly Interval[], count: number): Interval[] {
  const sorted = [...intervals].sort((a, b) => Buffer.compare(a.key, b.key))
  const size = Math.ceil(sorted.length / count)
  const covering: Interval[] = []
  for (let at = 0; at < sorted.length; at += size) {
    const some = sorted.slice(at, at + size)
    const end = some.reduce((last, { end }) => (Buffer.compare(end, last) > 0 ? end : last), some[0]!.end)
    covering.push({ key: some[0]!.key, end })
  }
  return covering
}
