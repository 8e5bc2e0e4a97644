import type { WriteOperation } from './engine.ts'
import { compareKeys } from './key.ts'
import { boundsOf, childName, listBounds, within } from './key-range.ts'
import type { Entry, ListOptions, ScanRange } from './store.ts'

/** What lies below the buffer. */
export interface BufferedSource {
  list(prefix: string, options: ListOptions): Promise<string[]>
  scan(range: ScanRange): AsyncIterable<Entry>
}

/** A transaction's own writes, not yet committed, and reads that see them on top of a source. */
export class WriteBuffer {
  readonly #writes = new Map<string, Uint8Array | undefined>()

  get size(): number {
    return this.#writes.size
  }

  put(key: string, value: Uint8Array): void {
    this.#writes.set(key, value)
  }

  delete(key: string): void {
    this.#writes.set(key, undefined)
  }

  /** Whether this transaction wrote the key; `get` then says what (undefined: deleted). */
  has(key: string): boolean {
    return this.#writes.has(key)
  }

  get(key: string): Uint8Array | undefined {
    return this.#writes.get(key)
  }

  /** The last write of each key. */
  operations(): WriteOperation[] {
    const operations: WriteOperation[] = []
    for (const [key, value] of this.#writes) {
      operations.push(value === undefined ? { type: 'delete', key } : { type: 'put', key, value })
    }
    return operations
  }

  scan(range: ScanRange, source: BufferedSource): AsyncIterable<Entry> {
    const bounds = boundsOf(range)
    const own = [...this.#writes].filter(([key]) => within(bounds, key))
    if (own.length === 0) return source.scan(range)
    const direction = range.reverse ? -1 : 1
    own.sort(([a], [b]) => compareKeys(a, b) * direction)
    // Each own write hides at most one entry below.
    const below = range.limit === undefined ? range : { ...range, limit: range.limit + own.length }
    return limited(merged(own, source.scan(below), direction), range.limit)
  }

  async list(prefix: string, options: ListOptions, source: BufferedSource): Promise<string[]> {
    const bounds = listBounds(prefix, options)
    const puts = new Set<string>()
    const deletes = new Set<string>()
    for (const [key, value] of this.#writes) {
      if (within(bounds, key)) (value === undefined ? deletes : puts).add(childName(prefix, key))
    }
    if (puts.size === 0 && deletes.size === 0) return source.list(prefix, options)
    const below =
      options.limit === undefined
        ? options
        : { ...options, limit: options.limit === 0 ? 0 : options.limit + deletes.size }
    const names = new Set(await source.list(prefix, below))
    for (const name of deletes) {
      if (puts.has(name) || !names.has(name)) continue
      if (!name.endsWith('/') || (await this.#isEmptyFolder(prefix + name, source))) names.delete(name)
    }
    for (const name of puts) names.add(name)
    return [...names].sort(compareKeys).slice(0, options.limit)
  }

  async #isEmptyFolder(folder: string, source: BufferedSource): Promise<boolean> {
    for await (const _ of this.scan({ prefix: folder, limit: 1 }, source)) return false
    return true
  }
}

async function* merged(
  own: readonly (readonly [string, Uint8Array | undefined])[],
  below: AsyncIterable<Entry>,
  direction: 1 | -1,
): AsyncGenerator<Entry> {
  let next = 0
  for await (const entry of below) {
    let hidden = false
    for (; next < own.length; next++) {
      const [key, value] = own[next]!
      const order = compareKeys(key, entry[0]) * direction
      if (order > 0) break
      if (order === 0) hidden = true
      if (value !== undefined) yield [key, value]
    }
    if (!hidden) yield entry
  }
  for (; next < own.length; next++) {
    const [key, value] = own[next]!
    if (value !== undefined) yield [key, value]
  }
}

async function* limited(entries: AsyncIterable<Entry>, limit = Number.POSITIVE_INFINITY): AsyncGenerator<Entry> {
  let left = limit
  if (left <= 0) return
  for await (const entry of entries) {
    yield entry
    if (--left <= 0) return
  }
}
