import { type Store, transact } from '@lockstep/storage'

const keysPerTransaction = 256

/**
 * Deletes every key under `prefix`, a bounded transaction at a time, so that no commit grows with the mount. Safe to run again after
 * a crash: what is gone stays gone.
 */
export async function deleteUnder(store: Store, prefix: string): Promise<void> {
  for (;;) {
    const keys: string[] = []
    for await (const [key] of store.scan({ prefix, limit: keysPerTransaction })) keys.push(key)
    if (keys.length === 0) return
    await transact(store, async (transaction) => {
      for (const key of keys) await transaction.delete(key)
    })
  }
}

/** Deletes what one entry of `SpecialPaths.localStorage` covers: `certs/`, `cache-*`, or `crl` with the folder of that name. */
export async function deleteDeclared(store: Store, prefix: string, declared: string): Promise<void> {
  if (declared.endsWith('*')) return deleteUnder(store, prefix + declared.slice(0, -1))
  if (declared.endsWith('/')) return deleteUnder(store, prefix + declared)
  await store.delete(prefix + declared)
  await deleteUnder(store, `${prefix}${declared}/`)
}
