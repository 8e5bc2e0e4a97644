import { optimisticStore, type Store } from '@lockstep/storage'
import { ClassicLevel } from 'classic-level'
import { prepareDataDirectory } from './data-directory.ts'
import { type Database, LevelDatabaseEngine, type LevelEngine } from './level-engine.ts'
import { levelError } from './level-error.ts'
import { registerEngine } from './level-leader-lock.ts'
import { MetaRecord } from './meta-record.ts'

export interface LevelOptions {
  /** The data directory. Created (mode 0700) when missing; its parent must exist. */
  path: string
  /** LevelDB's cache of data blocks, bytes. Default 16 MiB. */
  cacheBytes?: number
  /** Writes gathered in memory before they become a sorted file, bytes; up to twice this is used. Default 8 MiB. */
  writeBufferBytes?: number
}

/**
 * Opens or creates a store in a data directory, which this process alone may use until `close`. Rejects with
 * `STORAGE_LOCKED` when another process has it, `STORAGE_NEWER_FORMAT`, `STORAGE_CORRUPT`, or `STORAGE_UNAVAILABLE`
 * (missing parent, not a directory, no permission).
 */
export async function levelStore(options: LevelOptions): Promise<Store> {
  const engine = await levelEngine(options)
  const store = optimisticStore(engine)
  registerEngine(store, engine)
  return store
}

/** Like `levelStore`, without transactions; for layers that put their own `optimisticStore` with hooks on it. */
export async function levelEngine(options: LevelOptions): Promise<LevelEngine> {
  const { path } = options
  await prepareDataDirectory(path)
  const database: Database = new ClassicLevel(path, {
    keyEncoding: 'utf8',
    valueEncoding: 'view',
    // Values are ciphertext as a rule, which does not get smaller.
    compression: false,
    // Larger than LevelDB's 4 MiB: fewer and larger files for a server that writes all day. Opening after a crash
    // replays at most this much.
    writeBufferSize: options.writeBufferBytes ?? 8 * 1024 * 1024,
    maxFileSize: 8 * 1024 * 1024,
    cacheSize: options.cacheBytes ?? 16 * 1024 * 1024,
    // The binding always adds a Bloom filter of 10 bits per key, so reads of absent keys rarely touch the disk.
  })
  try {
    await database.open()
    const engine = new LevelDatabaseEngine(path, database, await MetaRecord.open(database, path))
    registerEngine(engine, engine)
    return engine
  } catch (error) {
    await database.close()
    throw levelError(error, path)
  }
}
