import { readFile } from 'node:fs/promises'
import { type LeaderLock, type Leadership, memoryStore, type Store } from '@lockstep/storage'
import { type EtcdConnection, etcdLeaderLock, etcdStore } from '@lockstep/storage-etcd'
import { levelStore } from '@lockstep/storage-level'
import { postgresLeaderLock, postgresStore } from '@lockstep/storage-postgres'
import { ConfigError } from './config/config-error.ts'
import type { EtcdStorageConfig, StorageConfig } from './config/server-config.ts'

const STANDBY_PATIENCE_MS = 5000

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
      // Unfenced only for reading, by standbys, whose status requests wait for it.
      const store = await postgresStore({ connection, table, maxConnections: 4, patience: STANDBY_PATIENCE_MS })
      const lock = postgresLeaderLock({ connection, table })
      const fenced = (fencedBy: Leadership) => postgresStore({ connection, table, maxConnections, fencedBy })
      return shared(store, lock, fenced)
    }
    case 'etcd': {
      const options = {
        ...(await etcdConnection(config)),
        prefix: config.prefix,
        maxRequestBytes: config.maxRequestBytes,
      }
      const store = await etcdStore(options)
      if (!config.haEnabled) return { store, close: () => store.close() }
      const lock = etcdLeaderLock({ ...options, ttl: config.lockTtlMs })
      return shared(store, lock, (fencedBy) => etcdStore({ ...options, fencedBy }))
    }
  }
}

function shared(
  store: Store,
  lock: LeaderLock & { close(): Promise<void> },
  fenced: (leadership: Leadership) => Promise<Store>,
): OpenStorage {
  return {
    store,
    lock,
    fenced,
    async close() {
      try {
        await lock.close()
      } finally {
        await store.close()
      }
    },
  }
}

async function etcdConnection({ endpoints, tls, auth, requestTimeoutMs }: EtcdStorageConfig): Promise<EtcdConnection> {
  const connection: EtcdConnection = { endpoints, requestTimeout: requestTimeoutMs }
  if (auth) connection.auth = auth
  if (tls) {
    const [ca, cert, key] = await Promise.all([
      readPem('tls_ca_file', tls.caFile),
      readPem('tls_cert_file', tls.certFile),
      readPem('tls_key_file', tls.keyFile),
    ])
    connection.tls = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) }
  }
  return connection
}

async function readPem(field: string, path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined
  try {
    return await readFile(path)
  } catch (error) {
    throw new ConfigError(`${field}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}
