import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { optimisticStore, type Store, storeEngine } from '@lockstep/storage'
import { leaderLockCompliance, type StoreFixture, storeCompliance } from '@lockstep/storage/compliance'
import { storeModel } from '@lockstep/storage/compliance/model'
import { describe, test } from 'vitest'
import { levelLeaderLock, levelStore } from '../src/index.ts'

async function fixture(open: (path: string) => Promise<Store>): Promise<StoreFixture> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstep-level-'))
  const path = join(directory, 'data')
  const opened = [await open(path)]
  return {
    store: opened[0]!,
    reopen: async () => {
      opened.push(await open(path))
      return opened.at(-1)!
    },
    dispose: async () => {
      for (const store of opened) await store.close()
      await rm(directory, { recursive: true })
    },
  }
}

describe('level store', () => {
  storeCompliance({ test, factory: () => fixture((path) => levelStore({ path })) })
  storeModel({ test, factory: () => fixture((path) => levelStore({ path })) })
})

describe('optimistic store stacked on a level store', () => {
  storeCompliance({
    test,
    factory: () => fixture(async (path) => optimisticStore(storeEngine(await levelStore({ path })))),
  })
})

describe('level leader lock', () => {
  leaderLockCompliance({
    test,
    factory: async () => {
      const { store, dispose } = await fixture((path) => levelStore({ path }))
      return { node: async () => levelLeaderLock(store), dispose: dispose! }
    },
  })
})
