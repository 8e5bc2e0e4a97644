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
  /** A commit of this key became durable; `undefined` = deleted. */
  written(key: string, value: Uint8Array | undefined): void
  /** Forgets a key whose stored value is in doubt. */
  forget(key: string): void
  readonly bytes: number
}

/** Guess of what a Map slot, a key's header and a value's header cost beside their bytes. */
const ENTRY_OVERHEAD = 128

/** Least recently used values, at most `capacity` bytes of them; 0 caches nothing. */
export function readCache(capacity: number): ReadCache {
  const values = new Map<string, Uint8Array>()
  const loading = new Map<string, object>()
  const largest = capacity / 8
  let bytes = 0

  const cost = (key: string, value: Uint8Array) => key.length + value.byteLength + ENTRY_OVERHEAD

  const evict = (key: string) => {
    const value = values.get(key)
    if (value === undefined) return
    values.delete(key)
    bytes -= cost(key, value)
  }

  const fill = (key: string, value: Uint8Array) => {
    evict(key)
    const size = cost(key, value)
    if (size > largest) return
    values.set(key, value)
    bytes += size
    if (bytes <= capacity) return
    // Many at once: a Map steps over what was deleted from its front each time an iteration starts there.
    for (const oldest of values.keys()) {
      evict(oldest)
      if (bytes <= capacity - largest) return
    }
  }

  const hit = (key: string) => {
    const value = values.get(key)
    if (value !== undefined) {
      values.delete(key)
      values.set(key, value)
    }
    return value
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
      else fill(key, value)
    },
    forget(key) {
      loading.delete(key)
      evict(key)
    },
    get bytes() {
      return bytes
    },
  }
}
