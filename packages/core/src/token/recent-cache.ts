/**
 * A bounded map that forgets what was not asked for lately. Two generations instead of a list: a hit in the young one moves
 * nothing, which keeps the hot path to a single `Map` lookup. Holds between `size` and `2 * size` values when full.
 */
export interface RecentCache<K, V> {
  get(key: K): V | undefined
  set(key: K, value: V): void
  delete(key: K): void
  clear(): void
  entries(): IterableIterator<[K, V]>
}

/** @param forgotten called for a value that is dropped for lack of use, not for `delete`, `clear` or overwriting. */
export function recentCache<K, V>(size: number, forgotten?: (key: K, value: V) => void): RecentCache<K, V> {
  let young = new Map<K, V>()
  let old = new Map<K, V>()

  function set(key: K, value: V): void {
    old.delete(key)
    young.set(key, value)
    if (young.size < size) return
    if (forgotten !== undefined) for (const [gone, what] of old) forgotten(gone, what)
    old = young
    young = new Map()
  }

  return {
    get(key) {
      const value = young.get(key)
      if (value !== undefined) return value
      const aged = old.get(key)
      if (aged !== undefined) set(key, aged)
      return aged
    },
    set,
    delete(key) {
      young.delete(key)
      old.delete(key)
    },
    clear() {
      young.clear()
      old.clear()
    },
    *entries() {
      yield* young
      yield* old
    },
  }
}
