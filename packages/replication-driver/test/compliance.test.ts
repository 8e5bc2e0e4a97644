import { RECORD_LIMITS } from '@lockstep/replication'
import { memoryEngine, memoryStore } from '@lockstep/storage'
import { type StoreFixture, storeCompliance } from '@lockstep/storage/compliance'
import { storeModel } from '@lockstep/storage/compliance/model'
import { describe, test } from 'vitest'
import { type KeyClass, type LoggedStoreOptions, loggedStore } from '../src/index.ts'
import { checkDisk, classify, open } from './fixture.ts'

// The suite has a key of 30 KiB, the WAL codec's limit may be lower.
const replicated = (key: string): KeyClass =>
  Buffer.byteLength(key) > RECORD_LIMITS.keyBytes
    ? { class: 'ignored' }
    : { class: 'replicated', mount: 'core', mountPath: '' }
const mixed = (key: string): KeyClass =>
  Buffer.byteLength(key) > RECORD_LIMITS.keyBytes ? { class: 'ignored' } : classify(key)

const suite = (options: Partial<LoggedStoreOptions>) => {
  const factory = async (): Promise<StoreFixture> => {
    const disk = memoryEngine()
    const store = await open(disk, options)
    return {
      store,
      reopen: () => open(disk, options),
      dispose: async () => {
        await store.close()
        if (options.classify === mixed) await checkDisk(disk, mixed)
      },
    }
  }
  storeCompliance({ test, factory })
  storeModel({ ...{ test, factory }, runs: process.env.SLOW ? 2000 : 50 })
}

describe('all keys replicated', () => suite({ classify: replicated }))
describe('all classes', () => suite({ classify: mixed }))
describe('no cache, no tail, a log that is always full', () =>
  suite({ classify: mixed, cacheBytes: 0, tailBytes: 0, logBytes: 2000 }))
describe('no log', () => suite({ classify: mixed, keepLog: () => false }))

describe('on a Store', () =>
  storeCompliance({
    test,
    async factory() {
      const physical = memoryStore()
      const options = { classify: replicated, writable: () => true, keepLog: () => true }
      const store = await loggedStore(physical, options)
      return { store, reopen: () => loggedStore(physical, options), dispose: () => store.close() }
    },
  }))
