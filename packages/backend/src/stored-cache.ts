/** Parsed stored objects by name, so that a hot path neither reads nor parses storage. */
export interface StoredCache<T> {
  /** The cached object, or what `load` finds. Absence is not cached. Treat objects as frozen. */
  get(name: string, load: (name: string) => Promise<T | undefined>): Promise<T | undefined> | T
  /** The cached object only. */
  peek(name: string): T | undefined
  /** Must follow every change of the stored object, own or replicated, after it is durable. */
  invalidate(name: string): void
  clear(): void
}

/** @param options.limit most objects kept, the least recently loaded go first. Default 10 000. */
export function storedCache<T>(options: { limit?: number } = {}): StoredCache<T> {
  const limit = options.limit ?? 10_000
  const entries = new Map<string, T>()
  // A load that began before an invalidation may have read the old object: it is returned but not kept.
  let epoch = 0
  const changed = new Map<string, number>()
  let cleared = 0
  let loading = 0

  async function loaded(name: string, load: (name: string) => Promise<T | undefined>): Promise<T | undefined> {
    const began = epoch
    loading++
    try {
      const value = await load(name)
      if (value !== undefined && cleared <= began && (changed.get(name) ?? 0) <= began) {
        if (entries.size >= limit) entries.delete(entries.keys().next().value!)
        entries.set(name, value)
      }
      return value
    } finally {
      if (--loading === 0) changed.clear()
    }
  }

  return {
    get: (name, load) => entries.get(name) ?? loaded(name, load),
    peek: (name) => entries.get(name),
    invalidate(name) {
      entries.delete(name)
      if (loading > 0) changed.set(name, ++epoch)
    },
    clear() {
      entries.clear()
      cleared = ++epoch
    },
  }
}
