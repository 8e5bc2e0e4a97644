import { memoryStore, StorageError, type Store } from '@lockstep/storage'
import { interceptedWrites } from './intercepted-writes.ts'

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
    ...interceptedWrites(inner, write),
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
  }
}

export async function copyOf(store: Store): Promise<Store> {
  const copy = memoryStore()
  for await (const [key, value] of store.scan()) await copy.put(key, value)
  return copy
}
