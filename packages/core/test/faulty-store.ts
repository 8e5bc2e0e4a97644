import { memoryStore, StorageError, type Store, type Transaction } from '@lockstep/storage'

export interface FaultyStore extends Store {
  /** The write after `count` more, and all later ones, are lost, as in a crash. */
  failAfter(count: number): void
  heal(): void
  /** A write was lost since `failAfter`. */
  readonly tripped: boolean
}

export function faultyStore(inner: Store): FaultyStore {
  let left = Number.POSITIVE_INFINITY
  let tripped = false
  async function write<T>(body: () => Promise<T>): Promise<T> {
    if (left <= 0) {
      tripped = true
      throw new StorageError('STORAGE_UNAVAILABLE', 'the power is out')
    }
    left--
    return body()
  }
  return {
    failAfter(count) {
      left = count
      tripped = false
    },
    heal() {
      left = Number.POSITIVE_INFINITY
    },
    get tripped() {
      return tripped
    },
    get: (key) => inner.get(key),
    getMany: (keys) => inner.getMany(keys),
    list: (prefix, options) => inner.list(prefix, options),
    scan: (range) => inner.scan(range),
    put: (key, value) => write(() => inner.put(key, value)),
    delete: (key) => write(() => inner.delete(key)),
    async begin() {
      const transaction = await inner.begin()
      const reads: Transaction = {
        get: (key) => transaction.get(key),
        getMany: (keys) => transaction.getMany(keys),
        list: (prefix, options) => transaction.list(prefix, options),
        scan: (range) => transaction.scan(range),
        put: (key, value) => transaction.put(key, value),
        delete: (key) => transaction.delete(key),
        commit: () => write(() => transaction.commit()),
        abort: () => transaction.abort(),
      }
      return reads
    },
    close: () => inner.close(),
  }
}

export async function copyOf(store: Store): Promise<Store> {
  const copy = memoryStore()
  for await (const [key, value] of store.scan()) await copy.put(key, value)
  return copy
}
