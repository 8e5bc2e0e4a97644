import { type LeaderLock, memoryStore, type Store } from '@lockstep/storage'
import { levelStore } from '@lockstep/storage-level'
import { postgresLeaderLock, postgresStore } from '@lockstep/storage-postgres'
import type { StorageConfig } from './config/server-config.ts'

export interface OpenStorage {
  store: Store
  /** Where several nodes can share the storage. */
  lock?: LeaderLock
  close(): Promise<void>
}

export async function openStorage(config: StorageConfig): Promise<OpenStorage> {
  switch (config.type) {
    case 'inmem': {
      const store = memoryStore()
      return { store, close: () => store.close() }
    }
    case 'level': {
      const store = await levelStore({ path: config.path })
      return { store, close: () => store.close() }
    }
    case 'postgresql': {
      const { connectionUrl: connection, table, maxParallel } = config
      const store = await postgresStore({ connection, table, maxConnections: Math.max(4, maxParallel) })
      if (!config.haEnabled) return { store, close: () => store.close() }
      const lock = postgresLeaderLock({ connection, table })
      return {
        store,
        lock,
        async close() {
          await lock.close()
          await store.close()
        },
      }
    }
  }
}
