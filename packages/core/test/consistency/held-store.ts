import type { Store, Transaction } from '@lockstep/storage'

export interface HeldStore extends Store {
  /** From now on writes wait: a disk that hangs. Reads go on. */
  hold(): void
  release(): void
}

export function heldStore(inner: Store): HeldStore {
  let held: { promise: Promise<void>; resolve(): void } | undefined
  async function write<T>(body: () => Promise<T>): Promise<T> {
    await held?.promise
    return body()
  }
  return {
    hold() {
      let resolve = (): void => {}
      const promise = new Promise<void>((done) => {
        resolve = done
      })
      held ??= { promise, resolve }
    },
    release() {
      held?.resolve()
      held = undefined
    },
    get: (key) => inner.get(key),
    getMany: (keys) => inner.getMany(keys),
    list: (prefix, options) => inner.list(prefix, options),
    scan: (range) => inner.scan(range),
    put: (key, value) => write(() => inner.put(key, value)),
    delete: (key) => write(() => inner.delete(key)),
    async begin() {
      const transaction = await inner.begin()
      const wrapped: Transaction = {
        get: (key) => transaction.get(key),
        getMany: (keys) => transaction.getMany(keys),
        list: (prefix, options) => transaction.list(prefix, options),
        scan: (range) => transaction.scan(range),
        put: (key, value) => transaction.put(key, value),
        delete: (key) => transaction.delete(key),
        commit: () => write(() => transaction.commit()),
        abort: () => transaction.abort(),
      }
      return wrapped
    },
    close: () => inner.close(),
  }
}
