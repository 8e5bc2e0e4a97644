import type { BackendStorage } from '@lockstep/backend'
import { prefixedStore, type Store, type Transaction, transact } from '@lockstep/storage'
import { CoreError } from '../contracts.ts'
import { storageErrorForBackend } from './read-only.ts'

/** A mount's slice of the barrier store, behind a gate that follows the mount's life. */
export interface MountStorage {
  readonly storage: BackendStorage
  /** From here on the backend may write. Before, its factory may only read: the mount has no storage class yet. */
  open(): void
  /** Refuses further writes and waits for those under way, so that nothing is written behind the removal of the data. */
  close(): Promise<void>
}

export function mountStorage(store: Store, prefix: string): MountStorage {
  const view = prefixedStore(store, prefix)
  let state: 'loading' | 'open' | 'closed' = 'loading'
  let writing = 0
  let idle: (() => void) | undefined

  async function write<T>(operation: () => Promise<T>): Promise<T> {
    if (state !== 'open') {
      throw new CoreError('CORE_INTERNAL', `the mount is ${state === 'loading' ? 'not committed yet' : 'closing'}`)
    }
    writing++
    try {
      return await operation()
    } catch (error) {
      throw storageErrorForBackend(error)
    } finally {
      if (--writing === 0) idle?.()
    }
  }

  return {
    storage: {
      get: (key) => view.get(key),
      getMany: (keys) => view.getMany(keys),
      list: (folder, options) => view.list(folder, options),
      scan: (range) => view.scan(range),
      put: (key, value) => write(() => view.put(key, value)),
      delete: (key) => write(() => view.delete(key)),
      transaction: <T>(body: (transaction: Transaction) => Promise<T>) => write(() => transact(view, body)),
    },
    open() {
      state = 'open'
    },
    async close() {
      state = 'closed'
      if (writing > 0) await new Promise<void>((resolve) => (idle = resolve))
    },
  }
}
