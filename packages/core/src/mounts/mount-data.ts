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
