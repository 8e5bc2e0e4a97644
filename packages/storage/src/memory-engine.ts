import type { Engine, WriteOperation } from './engine.ts'
import { boundsOf, childName, folderEnd, isEmptyRange, listBounds } from './key-range.ts'
import { optimisticStore } from './optimistic-store.ts'
import { SortedEntries } from './sorted-entries.ts'
import type { Entry, ListOptions, ScanRange, Store } from './store.ts'

/** A store that keeps everything in this process and nothing after it. For tests, caches and examples. */
export function memoryStore(): Store {
  return optimisticStore(memoryEngine())
}

/** The engine of `memoryStore`, for layers that set hooks. "Durable" means: in memory. */
export function memoryEngine(): Engine {
  return new MemoryEngine()
}

class MemoryEngine implements Engine {
  readonly #values = new Map<string, Uint8Array>()
  readonly #sorted = new SortedEntries()

  get(key: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#values.get(key))
  }

  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return Promise.resolve(keys.map((key) => this.#values.get(key)))
  }

  async *scan(range: ScanRange): AsyncGenerator<Entry> {
    const bounds = boundsOf(range)
    let left = range.limit ?? Number.POSITIVE_INFINITY
    if (left <= 0 || isEmptyRange(bounds)) return
    const snapshot = this.#sorted.snapshot()
    for (const entry of range.reverse ? snapshot.descending(bounds) : snapshot.ascending(bounds)) {
      yield entry
      if (--left <= 0) return
    }
  }

  list(prefix: string, options: ListOptions = {}): Promise<string[]> {
    const limit = options.limit ?? Number.POSITIVE_INFINITY
    const bounds = listBounds(prefix, options)
    const snapshot = this.#sorted.current()
    const names: string[] = []
    while (names.length < limit && !isEmptyRange(bounds)) {
      const entry = snapshot.first(bounds)
      if (entry === undefined) break
      const name = childName(prefix, entry[0])
      names.push(name)
      bounds.lowerInclusive = name.endsWith('/')
      bounds.lower = bounds.lowerInclusive ? folderEnd(prefix + name) : entry[0]
    }
    return Promise.resolve(names)
  }

  write(operations: readonly WriteOperation[]): Promise<void> {
    for (const operation of operations) {
      if (operation.type === 'put') {
        this.#values.set(operation.key, operation.value)
        this.#sorted.set(operation.key, operation.value)
      } else if (this.#values.delete(operation.key)) {
        this.#sorted.delete(operation.key)
      }
    }
    return Promise.resolve()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
