import { optimisticStore, type Store, storeEngine } from '@lockstep/storage'
import { leaderLockCompliance, type StoreFixture, storeCompliance } from '@lockstep/storage/compliance'
import { storeModel } from '@lockstep/storage/compliance/model'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { postgresLeaderLock, postgresStore } from '../src/index.ts'
import { type PostgresServer, postgresBinaries, startPostgres } from './postgres-server.ts'

describe.skipIf(postgresBinaries() === undefined)('with PostgreSQL', () => {
  let server: PostgresServer
  let tables = 0

  beforeAll(async () => {
    server = await startPostgres()
  })

  afterAll(() => server.stop())

  async function fixture(wrap: (store: Store) => Store, several = true): Promise<StoreFixture> {
    const table = `t${tables++}`
    const opened: Store[] = []
    const open = async () => {
      const store = wrap(await postgresStore({ connection: server.connection, table }))
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

  describe('postgres store', () => {
    storeCompliance({ test, factory: () => fixture((store) => store) })
    // PostgreSQL notes pages and relations read, not only keys and ranges.
    storeModel({ test, factory: () => fixture((store) => store), exactConflicts: false })
  })

  describe('optimistic store stacked on a postgres store', () => {
    storeCompliance({ test, factory: () => fixture((store) => optimisticStore(storeEngine(store)), false) })
  })

  describe('postgres leader lock', () => {
    leaderLockCompliance({
      test,
      factory: async () => {
        const table = `t${tables++}`
        const nodes: { close(): Promise<void> }[] = []
        return {
          node: async () => {
            const lock = postgresLeaderLock({ connection: server.url, table })
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
})
