import type { Engine, WriteOperation } from './engine.ts'
import type { Entry, ListOptions, ScanRange, Store, StoreLimits } from './store.ts'

/** How a store of this package tells the engine below it, when it adds nothing to that engine but transactions. */
export const ENGINE_BELOW = Symbol('engine below')

export interface LayeredStore extends Store {
  [ENGINE_BELOW](): Engine | undefined
}

/** The engine that does as well as the store for a caller that is alone in writing the keys it writes. */
export function engineBelow(store: Store): Engine | undefined {
  return (store as Partial<LayeredStore>)[ENGINE_BELOW]?.()
}

/**
 * Uses a store as an engine, so that `optimisticStore` can be stacked on it with hooks. Only the stacked store may write these keys
 * from then on: where the store is one of this package its transactions are left out, and with them a second wait for a group of
 * commits. Closing the engine closes the store.
 */
export function storeEngine(store: Store): Engine {
  const below = engineBelow(store)
  if (below === undefined) return new StoreEngine(store)
  const engine: Engine = {
    limits: below.limits,
    get: (key) => below.get(key),
    getMany: (keys) => below.getMany(keys),
    scan: (range) => below.scan(range),
    write: (operations) => below.write(operations),
    close: () => store.close(),
  }
  if (below.list) engine.list = (prefix: string, options?: ListOptions) => below.list!(prefix, options)
  return engine
}

class StoreEngine implements Engine {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  get limits(): StoreLimits | undefined {
    return this.#store.limits
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
