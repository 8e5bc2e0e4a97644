import type { Store, Transaction } from '@lockstep/storage'

/** The store, with every write (put, delete, commit of a transaction) made through `write`. */
export function interceptedWrites(inner: Store, write: <T>(body: () => Promise<T>) => Promise<T>): Store {
  return {
    get: (key) => inner.get(key),
    getMany: (keys) => inner.getMany(keys),
    list: (prefix, options) => inner.list(prefix, options),
    scan: (range) => inner.scan(range),
    put: (key, value) => write(() => inner.put(key, value)),
    delete: (key) => write(() => inner.delete(key)),
    async begin() {
      const transaction = await inner.begin()
      const intercepted: Transaction = {
        get: (key) => transaction.get(key),
        getMany: (keys) => transaction.getMany(keys),
        list: (prefix, options) => transaction.list(prefix, options),
        scan: (range) => transaction.scan(range),
        put: (key, value) => transaction.put(key, value),
        delete: (key) => transaction.delete(key),
        commit: () => write(() => transaction.commit()),
        abort: () => transaction.abort(),
      }
      return intercepted
    },
    close: () => inner.close(),
  }
}
