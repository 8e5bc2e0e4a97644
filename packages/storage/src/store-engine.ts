import type { Engine, WriteOperation } from './engine.ts'
import type { Entry, ListOptions, ScanRange, Store } from './store.ts'

/**
 * Uses a store as an engine, so that `optimisticStore` can be stacked on it with hooks. Only the stacked store may
 * write from then on. Closing the engine closes the store.
 */
export function storeEngine(store: Store): Engine {
  return new StoreEngine(store)
}

class StoreEngine implements Engine {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#store.get(key)
  }

  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return this.#store.getMany(keys)
  }

  list(prefix: string, options?: ListOptions): Promise<string[]> {
    return this.#store.list(prefix, options)
  }

  scan(range: ScanRange): AsyncIterable<Entry> {
    return this.#store.scan(range)
  }

  async write(operations: readonly WriteOperation[]): Promise<void> {
    const transaction = await this.#store.begin()
    try {
      await Promise.all(
        operations.map((operation) =>
          operation.type === 'put'
            ? transaction.put(operation.key, operation.value)
            : transaction.delete(operation.key),
        ),
      )
      await transaction.commit()
    } catch (error) {
      await transaction.abort()
      throw error
    }
  }

  close(): Promise<void> {
    return this.#store.close()
  }
}
