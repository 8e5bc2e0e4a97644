import { type LeaderLock, type Leadership, memoryStore, type Store } from '@lockstep/storage'
import { levelStore } from '@lockstep/storage-level'
import { postgresLeaderLock, postgresStore } from '@lockstep/storage-postgres'
import type { StorageConfig } from './config/server-config.ts'

export interface OpenStorage {
  store: Store
  /** Where several nodes can share the storage. */
  lock?: LeaderLock
  /** The same storage, refusing writes once the leadership has ended. With a lock only. */
  fenced?(leadership: Leadership): Promise<Store>
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
      const maxConnections = Math.max(4, maxParallel)
      if (!config.haEnabled) {
        const store = await postgresStore({ connection, table, maxConnections })
        return { store, close: () => store.close() }
      }
      // Unfenced only for reading, by standbys.
      const store = await postgresStore({ connection, table, maxConnections: 4 })
      const lock = postgresLeaderLock({ connection, table })
      return {
        store,
        lock,
        fenced: (fencedBy) => postgresStore({ connection, table, maxConnections, fencedBy }),
        async close() {
          try {
            await lock.close()
          } finally {
            await store.close()
          }
        },
      }
    }
  }
}
