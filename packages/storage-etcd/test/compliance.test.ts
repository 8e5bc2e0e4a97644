import { optimisticStore, type Store, storeEngine } from '@lockstep/storage'
import { leaderLockCompliance, type StoreFixture, storeCompliance } from '@lockstep/storage/compliance'
import { storeModel } from '@lockstep/storage/compliance/model'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { etcdLeaderLock, etcdStore } from '../src/index.ts'
import { type EtcdServer, startEtcd } from './etcd-server.ts'

let server: EtcdServer
let prefixes = 0

beforeAll(async () => {
  server = await startEtcd()
})

afterAll(() => server?.stop())

async function fixture(wrap: (store: Store) => Store, several = true): Promise<StoreFixture> {
  const prefix = `/p${prefixes++}/`
  const opened: Store[] = []
  const open = async () => {
    const store = wrap(await etcdStore({ endpoints: server.url, prefix }))
    opened.push(store)
    return store
  }
  return {
    store: await open(),
    reopen: open,
    ...(several && { beside: open }),
    dispose: async () => {
      for (const store of opened) await store.close()
    },
  }
}

describe('etcd store', () => {
  storeCompliance({ test, factory: () => fixture((store) => store) })
  // A large listing is compared as a whole, and a key that came and went was never there.
  storeModel({ test, factory: () => fixture((store) => store), exactConflicts: false })
})

describe('optimistic store stacked on an etcd store', () => {
  storeCompliance({ test, factory: () => fixture((store) => optimisticStore(storeEngine(store)), false) })
})

describe('etcd leader lock', () => {
  leaderLockCompliance({
    test,
    factory: async () => {
      const prefix = `/p${prefixes++}/`
      const nodes: { close(): Promise<void> }[] = []
      return {
        node: async () => {
          const lock = etcdLeaderLock({ endpoints: [server.url], prefix })
          nodes.push(lock)
          return lock
        },
        dispose: async () => {
          for (const node of nodes) await node.close()
        },
      }
    },
  })
})
