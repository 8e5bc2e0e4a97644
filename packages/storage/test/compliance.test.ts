import { leaderLockCompliance, storeCompliance } from '@lockstep/storage/compliance'
import { describe, expect, test } from 'vitest'
import {
  type Engine,
  memoryEngine,
  memoryLeaderLock,
  memoryStore,
  optimisticStore,
  prefixedStore,
  type Store,
  storeEngine,
} from '../src/index.ts'

/** An engine whose data outlives the store that closes it, without a `list` of its own. */
function lastingEngine(): Engine {
  const engine = memoryEngine()
  return {
    get: (key) => engine.get(key),
    getMany: (keys) => engine.getMany(keys),
    scan: (range) => engine.scan(range),
    write: async (operations) => {
      // As long as a disk takes, so that commits gather.
      await new Promise((resolve) => setTimeout(resolve, 1))
      await engine.write(operations)
    },
    close: async () => {},
  }
}

describe('memory store', () => {
  storeCompliance({ test, factory: async () => ({ store: memoryStore() }) })
})

describe('optimistic store on a slow engine without list', () => {
  storeCompliance({
    test,
    factory: async () => {
      const engine = lastingEngine()
      return { store: optimisticStore(engine, { maxGroup: 7 }), reopen: async () => optimisticStore(engine) }
    },
  })
})

describe('prefixed view', () => {
  storeCompliance({
    test,
    factory: async () => {
      const parent = memoryStore()
      for (const key of ['a', 'view', 'view/', 'view0', 'vieW/x', 'z']) await parent.put(key, new Uint8Array([1]))
      return { store: prefixedStore(parent, 'view/'), reopen: async () => prefixedStore(parent, 'view/') }
    },
  })
})

describe('optimistic store stacked on a store', () => {
  storeCompliance({ test, factory: async () => ({ store: optimisticStore(storeEngine(memoryStore())) }) })
})

describe('optimistic store stacked on a view of a store', () => {
  storeCompliance({
    test,
    factory: async () => {
      const parent = memoryStore()
      for (const key of ['a', 'view', 'view/', 'view0', 'vieW/x', 'z']) await parent.put(key, new Uint8Array([1]))
      return { store: optimisticStore(storeEngine(prefixedStore(parent, 'view/'))) }
    },
  })
})

describe('optimistic store stacked on a store of another make', () => {
  storeCompliance({ test, factory: async () => ({ store: optimisticStore(storeEngine(foreign(memoryStore()))) }) })
})

test('a store stacked on one with hooks goes through its hooks', async () => {
  const seen: string[] = []
  const hooked = optimisticStore(memoryEngine(), {
    hooks: {
      committed: (commits) => seen.push(...commits.flatMap((commit) => commit.operations.map(({ key }) => key))),
    },
  })
  await optimisticStore(storeEngine(prefixedStore(hooked, 'view/'))).put('a', new Uint8Array([1]))
  expect(seen).toEqual(['view/a'])
})

/** Shows no more of a store than the contract. */
function foreign(store: Store): Store {
  return {
    get: (key) => store.get(key),
    getMany: (keys) => store.getMany(keys),
    list: (prefix, options) => store.list(prefix, options),
    scan: (range) => store.scan(range),
    put: (key, value) => store.put(key, value),
    delete: (key) => store.delete(key),
    begin: () => store.begin(),
    close: () => store.close(),
  }
}

describe('memory leader lock', () => {
  leaderLockCompliance({
    test,
    factory: async () => {
      const lock = memoryLeaderLock()
      return { node: async () => lock }
    },
  })
})
