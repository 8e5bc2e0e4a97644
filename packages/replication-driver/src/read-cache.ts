export interface ReadCache {
  /**
   * The cached value, or what `load` reads. Concurrent misses of one key share a load. A load that a commit of the same
   * key overtakes is handed to those who already wait for it, and never cached.
   */
  read(key: string, load: (key: string) => Promise<Uint8Array | undefined>): Promise<Uint8Array | undefined>
  readMany(
    keys: readonly string[],
    load: (keys: readonly string[]) => Promise<(Uint8Array | undefined)[]>,
  ): Promise<(Uint8Array | undefined)[]>
  /**
   * A commit of this key became durable; `undefined` = deleted. Only replaces what is cached: most of what a server writes (leases,
   * indices, old versions) is not read soon.
   */
  written(key: string, value: Uint8Array | undefined): void
  /** Forgets a key whose stored value is in doubt. */
  forget(key: string): void
  readonly bytes: number
}

/** What a Map slot, a flat key and an array with a buffer of its own cost beside their bytes, measured on Node 20. */
const ENTRY_OVERHEAD = 384

/**
 * Values used lately, at most `capacity` bytes of them; 0 caches nothing. Two generations instead of a list: a hit in the young one
 * moves nothing, and when it has half of the capacity the old one is forgotten as a whole.
 */
export function readCache(capacity: number): ReadCache {
  let young = generation()
  let old = generation()
  const loading = new Map<string, object>()
  const largest = capacity / 8

  const evict = (key: string) => {
    remove(young, key)
    remove(old, key)
  }

  const fill = (key: string, value: Uint8Array) => {
    evict(key)
    const size = cost(key, value)
    if (size > largest) return
    if (young.bytes + size > capacity / 2) {
      old = young
      young = generation()
    }
    young.values.set(key, value)
    young.bytes += size
  }

  const hit = (key: string) => {
    const value = young.values.get(key)
    if (value !== undefined) return value
    const aged = old.values.get(key)
    if (aged !== undefined) fill(key, aged)
    return aged
  }

  return {
    read(key, load) {
      const value = hit(key)
      if (value !== undefined) return Promise.resolve(value)
      const underWay = loading.get(key)
      if (underWay instanceof Promise) return underWay as Promise<Uint8Array | undefined>
      const loaded = load(key).then(
        (value) => {
          if (loading.get(key) === loaded) {
            loading.delete(key)
            if (value !== undefined) fill(key, value)
          }
          return value
        },
        (error) => {
          if (loading.get(key) === loaded) loading.delete(key)
          throw error
        },
      )
      loading.set(key, loaded)
      return loaded
    },
    async readMany(keys, load) {
      const result = keys.map(hit)
      const missing = keys.filter((_, place) => result[place] === undefined)
      if (missing.length === 0) return result
      const ticket = {}
      for (const key of missing) if (!loading.has(key)) loading.set(key, ticket)
      let at = 0
      try {
        const loaded = await load(missing)
        for (let place = 0; place < result.length; place++) {
          if (result[place] !== undefined) continue
          const value = loaded[at]
          const key = missing[at++]!
          result[place] = value
          if (value !== undefined && loading.get(key) === ticket) fill(key, value)
        }
        return result
      } finally {
        for (const key of missing) if (loading.get(key) === ticket) loading.delete(key)
      }
    },
    written(key, value) {
      loading.delete(key)
      if (value === undefined) evict(key)
      else if (young.values.has(key) || old.values.has(key)) fill(key, value)
    },
    forget(key) {
      loading.delete(key)
      evict(key)
    },
    get bytes() {
      return young.bytes + old.bytes
    },
  }
}

interface Generation {
  readonly values: Map<string, Uint8Array>
  bytes: number
}

function generation(): Generation {
  return { values: new Map(), bytes: 0 }
}

function remove(from: Generation, key: string): void {
  const value = from.values.get(key)
  if (value === undefined) return
  from.values.delete(key)
  from.bytes -= cost(key, value)
}

function cost(key: string, value: Uint8Array): number {
  return key.length + value.byteLength + ENTRY_OVERHEAD
}
