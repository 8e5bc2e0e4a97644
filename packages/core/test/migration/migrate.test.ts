// Moving a storage offline: what is copied, what is proved, what is refused, and what an attempt leaves that did not end.
import { memoryLeaderLock, memoryStore, type Store } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import { type MigrationOptions, migrateStorage, resetMigration } from '../../src/migration/migrate-storage.ts'
import { MIGRATION, writeMigration } from '../../src/migration/migration-lock.ts'
import { type Node, startNode } from '../cluster.ts'

const nodes: Node[] = []
const keep = (node: Node): Node => {
  nodes.push(node)
  return node
}
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

/** A cluster that has stopped, with more rows than one page of the copy. */
async function stopped(keys = 120): Promise<Node> {
  const node = keep(await startNode())
  await node.init()
  await node.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await node.change('sys/replication/performance/primary/enable')
  for (let n = 0; n < keys; n++) await node.ask('update', `kv/${n}`, { n })
  await node.close()
  return node
}
const move = (source: Store, destination: Store, options: Partial<MigrationOptions> = {}) =>
  migrateStorage(
    { source: { store: source }, destination: { store: destination }, clock: Date },
    { signal: new AbortController().signal, ...options },
  )
const rows = async (store: Store) => {
  const found = new Map<string, string>()
  for await (const [key, value] of store.scan()) found.set(key, Buffer.from(value).toString('hex'))
  return found
}
/** Refuses or delays some of the writes. */
function writing(store: Store, before: (operations: number) => Promise<void>): Store {
  let operations = 0
  return new Proxy(store, {
    get(target, name) {
      // What lies below the store would be written directly.
      if (typeof name === 'symbol') return undefined
      if (name === 'begin') {
        return async () => {
          const transaction = await target.begin()
          const { commit } = transaction
          transaction.commit = async () => {
            await before(++operations)
            return commit.call(transaction)
          }
          return transaction
        }
      }
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

test('all of it is there, log and all, and a server goes on there; the roots are those of both ends', async () => {
  const node = await stopped()
  const destination = memoryStore()
  const report = await move(node.store, destination, { batchRows: 50 })
  expect(await rows(destination)).toEqual(await rows(node.store))
  expect(report.partitions.reduce((sum, { keys }) => sum + keys, 0)).toBeGreaterThan(120)
  expect(report.root).toMatch(/^[0-9a-f]{64}$/)
  const next = keep(await startNode({ store: destination }))
  next.token = node.token
  await next.unseal(node.keys)
  expect((await next.ask('read', 'kv/119')).data).toEqual({ n: 119 })
  expect((await next.status('performance')).merkle_root).toEqual(expect.any(String))
  const verified = await next.ask('update', 'sys/replication/merkle-check')
  expect(verified.error).toBeUndefined()
})

test('a wrong row anywhere in the destination is found, and so is data that its Merkle index does not speak of', async () => {
  const node = await stopped(20)
  const data = [...(await rows(node.store)).keys()].filter((key) => key.startsWith('g0/d/'))
  for (const key of [data[0]!, data[7]!, data.at(-1)!]) {
    const destination = memoryStore()
    const damaging = writing(destination, async () => {})
    const scan = damaging.scan.bind(damaging)
    const lying: Store = new Proxy(damaging, {
      get(target, name) {
        if (name !== 'scan') return Reflect.get(target, name)
        return async function* (range: Parameters<Store['scan']>[0]) {
          for await (const [name, value] of scan(range)) {
            yield [name, name === key ? Uint8Array.from(value, (byte) => byte ^ 1) : value] as const
          }
        }
      },
    })
    await expect(move(node.store, lying), key).rejects.toThrow(/Merkle index|differs from the source/)
    // No server starts there.
    await expect(startNode({ store: destination })).rejects.toThrow('destination of a migration that has not ended')
  }
})

test('what was stopped or failed goes on where it was, or starts over', async () => {
  const node = await stopped()
  const batchRows = 50
  expect((await rows(node.store)).size).toBeGreaterThan(6 * batchRows)
  for (const batches of [0, 1, 2, 5]) {
    const destination = memoryStore()
    const failing = writing(destination, async (operations) => {
      if (operations > batches) throw new Error('the disk is full')
    })
    const failed = await move(node.store, failing, { maxParallel: 2, batchRows }).catch((error: unknown) => error)
    const { start, message } = failed as { start: string; message: string }
    expect(message).toContain('go on with -start=')
    expect(await node.store.get(MIGRATION)).toBeUndefined()
    await expect(startNode({ store: destination })).rejects.toThrow('has not ended')
    const report = await move(node.store, destination, { start })
    expect(report.rows).toBe((await rows(node.store)).size)
    expect(await rows(destination)).toEqual(await rows(node.store))
  }
  const destination = memoryStore()
  const ending = new AbortController()
  const stopping = writing(destination, async () => ending.abort(new Error('stopped')))
  await expect(move(node.store, stopping, { signal: ending.signal, maxParallel: 1, batchRows: 100 })).rejects.toThrow(
    'go on with -start=',
  )
  await destination.put('g0/d/left/over', new Uint8Array(1))
  await move(node.store, destination)
  expect(await rows(destination)).toEqual(await rows(node.store))
})

test('refused: a destination with data, the same storage, an empty source, a start without an attempt before', async () => {
  const node = await stopped(5)
  const full = memoryStore()
  await full.put('something', new Uint8Array(1))
  await expect(move(node.store, full)).rejects.toThrow('storage_destination is not empty')
  expect(await full.get('something')).toBeDefined()
  await expect(move(node.store, node.store)).rejects.toThrow(/not empty|same storage/)
  await expect(move(memoryStore(), memoryStore())).rejects.toThrow('storage_source is empty')
  await expect(move(node.store, memoryStore(), { start: 'g0/' })).rejects.toThrow('-start needs a destination')
  expect(await node.store.get(MIGRATION)).toBeUndefined()
})

test('a lock that was left keeps servers and migrations away until it is reset', async () => {
  const node = await stopped(5)
  await writeMigration(node.store, { role: 'source', id: 'x', startedAt: Date.now() })
  await expect(move(node.store, memoryStore())).rejects.toThrow('storage migration in progress')
  await expect(startNode({ store: node.store })).rejects.toThrow('storage migration in progress')
  await resetMigration(node.store)
  await move(node.store, memoryStore())
})

test('refused while a node runs on either end, leading or not', async () => {
  const store = memoryStore()
  const lock = memoryLeaderLock()
  const node = keep(await startNode({ store, lock }))
  await node.init()
  const end = { store, lock }
  const migrate = () =>
    migrateStorage(
      { source: end, destination: { store: memoryStore() }, clock: Date },
      { signal: new AbortController().signal },
    )
  await expect(migrate()).rejects.toThrow(/storage_source is in use: the node http:\/\/127.0.0.1:\d+ was there/)
  await node.core.close()
  await migrate()
})
