import { storeModel } from '@lockstep/storage/compliance/model'
import { describe, test } from 'vitest'
import { memoryEngine, memoryStore, optimisticStore, prefixedStore, storeEngine } from '../src/index.ts'

const runs = process.env.SLOW ? 5000 : 400

describe('memory store', () => {
  storeModel({ ...{ test, runs }, factory: async () => ({ store: memoryStore() }) })
})

describe('optimistic store that is opened again', () => {
  storeModel({
    ...{ test, runs },
    async factory() {
      const engine = { ...forwarded(memoryEngine()), close: async () => {} }
      return { store: optimisticStore(engine, { maxGroup: 2 }), reopen: async () => optimisticStore(engine) }
    },
  })
})

describe('prefixed view', () => {
  storeModel({
    ...{ test, runs },
    async factory() {
      const parent = memoryStore()
      for (const key of ['a', 'view', 'view/', 'view0', 'z']) await parent.put(key, new Uint8Array([1]))
      return { store: prefixedStore(parent, 'view/'), reopen: async () => prefixedStore(parent, 'view/') }
    },
  })
})

describe('optimistic store stacked on a view of a store', () => {
  storeModel({
    ...{ test, runs },
    factory: async () => ({ store: optimisticStore(storeEngine(prefixedStore(memoryStore(), 'view/'))) }),
  })
})

function forwarded(engine: ReturnType<typeof memoryEngine>): Omit<typeof engine, 'close'> {
  return {
    get: (key) => engine.get(key),
    getMany: (keys) => engine.getMany(keys),
    scan: (range) => engine.scan(range),
    write: (operations) => engine.write(operations),
  }
}
