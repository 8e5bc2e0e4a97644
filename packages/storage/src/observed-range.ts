import { compareKeys } from './key.ts'
import { boundsOf, childName, type KeyBounds, listBounds, within } from './key-range.ts'
import type { ListOptions, ScanRange } from './store.ts'

export interface KeySet {
  contains(key: string): boolean
}

/** The part of a scan that a transaction has seen: up to the last entry handed out, or all of it. */
export class ObservedScan implements KeySet {
  readonly #bounds: KeyBounds
  readonly #reverse: boolean
  #last: string | undefined
  #complete = false

  constructor(range: ScanRange) {
    this.#bounds = boundsOf(range)
    this.#reverse = range.reverse ?? false
  }

  reached(key: string): void {
    this.#last = key
  }

  complete(): void {
    this.#complete = true
  }

  contains(key: string): boolean {
    if (!within(this.#bounds, key)) return false
    if (this.#complete) return true
    if (this.#last === undefined) return false
    const order = compareKeys(key, this.#last)
    return this.#reverse ? order >= 0 : order <= 0
  }

  /** The same range as if the scan had run to its end. */
  whole(): KeySet {
    return { contains: (key) => within(this.#bounds, key) }
  }
}

/** The part of a listing that a transaction has seen. */
export class ObservedList implements KeySet {
  readonly #prefix: string
  readonly #bounds: KeyBounds
  #last: string | undefined

  constructor(prefix: string, options: ListOptions) {
    this.#prefix = prefix
    this.#bounds = listBounds(prefix, options)
  }

  /** The listing stopped at its limit with this child; undefined: the limit was 0 and nothing was seen. */
  endAt(name: string | undefined): void {
    this.#last = name ?? ''
  }

  whole(): KeySet {
    return this
  }

  contains(key: string): boolean {
    if (!within(this.#bounds, key)) return false
    return this.#last === undefined || compareKeys(childName(this.#prefix, key), this.#last) <= 0
  }
}
