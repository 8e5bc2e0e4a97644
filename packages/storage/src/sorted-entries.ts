import { compareKeys } from './key.ts'
import type { KeyBounds } from './key-range.ts'
import type { Entry } from './store.ts'

const CHUNK_LIMIT = 256

interface Chunk {
  /** Only the generation that made a chunk may change it; older ones belong to snapshots too. */
  generation: number
  keys: string[]
  values: Uint8Array[]
}

/**
 * Entries in key order in chunks that are copied before they change, so a snapshot costs nothing to take and a write
 * costs a bounded copy.
 */
export class SortedEntries {
  #generation = 0
  #chunks: Chunk[] = []
  #chunksGeneration = 0

  /** An unchanging view. */
  snapshot(): SortedSnapshot {
    this.#generation++
    return new SortedSnapshot(this.#chunks)
  }

  /** A view that is only good until the next write, for reads that do not wait in between. */
  current(): SortedSnapshot {
    return new SortedSnapshot(this.#chunks)
  }

  set(key: string, value: Uint8Array): void {
    if (this.#chunks.length === 0) {
      this.#ownChunks().push({ generation: this.#generation, keys: [key], values: [value] })
      return
    }
    const at = Math.max(0, chunkOf(this.#chunks, key))
    const chunk = this.#ownChunk(at)
    const index = lowerBound(chunk.keys, key)
    if (chunk.keys[index] === key) {
      chunk.values[index] = value
      return
    }
    chunk.keys.splice(index, 0, key)
    chunk.values.splice(index, 0, value)
    if (chunk.keys.length > CHUNK_LIMIT) this.#split(at, chunk)
  }

  delete(key: string): void {
    const at = chunkOf(this.#chunks, key)
    if (at < 0) return
    const index = lowerBound(this.#chunks[at]!.keys, key)
    if (this.#chunks[at]!.keys[index] !== key) return
    const chunk = this.#ownChunk(at)
    chunk.keys.splice(index, 1)
    chunk.values.splice(index, 1)
    if (chunk.keys.length === 0) this.#ownChunks().splice(at, 1)
  }

  #split(at: number, chunk: Chunk): void {
    // Keys that arrive in ascending order fill chunks instead of leaving them half empty.
    const appending = at === this.#chunks.length - 1
    const middle = appending ? CHUNK_LIMIT - 16 : CHUNK_LIMIT >> 1
    const right: Chunk = {
      generation: this.#generation,
      keys: chunk.keys.splice(middle),
      values: chunk.values.splice(middle),
    }
    this.#ownChunks().splice(at + 1, 0, right)
  }

  #ownChunks(): Chunk[] {
    if (this.#chunksGeneration !== this.#generation) {
      this.#chunks = this.#chunks.slice()
      this.#chunksGeneration = this.#generation
    }
    return this.#chunks
  }

  #ownChunk(at: number): Chunk {
    const chunk = this.#chunks[at]!
    if (chunk.generation === this.#generation) return chunk
    const copy = { generation: this.#generation, keys: chunk.keys.slice(), values: chunk.values.slice() }
    this.#ownChunks()[at] = copy
    return copy
  }
}

export class SortedSnapshot {
  readonly #chunks: readonly Chunk[]
  constructor(chunks: readonly Chunk[]) {
    this.#chunks = chunks
  }

  /** The first entry of the range in ascending order, or undefined. */
  first(bounds: KeyBounds): Entry | undefined {
    for (const entry of this.ascending(bounds)) return entry
    return undefined
  }

  *ascending(bounds: KeyBounds): Generator<Entry> {
    const { lower, lowerInclusive, upper } = bounds
    let at = lower === undefined ? 0 : Math.max(0, chunkOf(this.#chunks, lower))
    let index = 0
    if (lower !== undefined && at < this.#chunks.length) {
      const keys = this.#chunks[at]!.keys
      index = lowerBound(keys, lower)
      if (!lowerInclusive && keys[index] === lower) index++
    }
    for (; at < this.#chunks.length; at++, index = 0) {
      const { keys, values } = this.#chunks[at]!
      for (; index < keys.length; index++) {
        if (upper !== undefined && compareKeys(keys[index]!, upper) >= 0) return
        yield [keys[index]!, values[index]!]
      }
    }
  }

  *descending(bounds: KeyBounds): Generator<Entry> {
    const { lower, lowerInclusive, upper } = bounds
    let at = upper === undefined ? this.#chunks.length - 1 : chunkOf(this.#chunks, upper)
    let index = at < 0 ? -1 : this.#chunks[at]!.keys.length - 1
    if (upper !== undefined && at >= 0) index = lowerBound(this.#chunks[at]!.keys, upper) - 1
    while (at >= 0) {
      const { keys, values } = this.#chunks[at]!
      for (; index >= 0; index--) {
        if (lower !== undefined) {
          const order = compareKeys(keys[index]!, lower)
          if (order < 0 || (order === 0 && !lowerInclusive)) return
        }
        yield [keys[index]!, values[index]!]
      }
      at--
      if (at >= 0) index = this.#chunks[at]!.keys.length - 1
    }
  }
}

/** The last chunk whose first key is not greater than `key`, or -1. */
function chunkOf(chunks: readonly Chunk[], key: string): number {
  let low = 0
  let high = chunks.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compareKeys(chunks[middle]!.keys[0]!, key) <= 0) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** The first index whose key is not smaller than `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compareKeys(keys[middle]!, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}
