// Several nodes over one storage and one leader lock, and what the others do when its keys change under them.
import { memoryLeaderLock, memoryStore, StorageError, type Store } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import { KEYRING_UNEXPLAINED, KEYS_CHANGED } from '../../src/seal-life-cycle/poison-pill.ts'
import { inSync, link, type Node, startNode, waitFor } from '../cluster.ts'

const nodes: Node[] = []
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

const is = (node: Node, wanted: string) =>
  waitFor(`the state ${wanted}`, async () => (await node.core.health()).state === wanted)
/** Waits for the log alone: a question to the node could be what makes it look. */
const says = (node: Node, text: string) =>
  waitFor(`the log ${text}`, async () => node.logged.find((line) => line.includes(text)))

async function trio(): Promise<{ store: Store; one: Node; others: Node[] }> {
  const store = memoryStore()
  const lock = memoryLeaderLock()
  const [one, two, three] = await Promise.all([1, 2, 3].map(() => startNode({ store, lock })))
  nodes.push(one!, two!, three!)
  await one!.init(1, 1)
  await is(one!, 'active')
  const others = [two!, three!]
  for (const node of others) {
    Object.assign(node, { token: one!.token, keys: one!.keys })
    await node.unseal()
    await is(node, 'standby')
  }
  return { store, one: one!, others }
}

async function performancePrimary(): Promise<Node> {
  const primary = await startNode()
  nodes.push(primary)
  await primary.init(2, 2)
  await primary.change('sys/replication/performance/primary/enable')
  return primary
}

test("the standbys notice unasked, say Vault's words, seal, and take the primary's keys", async () => {
  const primary = await performancePrimary()
  const { one, others } = await trio()
  // The standbys were unsealed before this term.
  await one.ask('update', 'sys/rotate')
  await link(primary, one, 'performance', 'us')
  for (const node of others) {
    await says(node, KEYS_CHANGED)
    await is(node, 'sealed')
    expect(await node.core.sealStatus()).toMatchObject({ sealed: true, t: 2, n: 2 })
    await node.unseal(primary.keys)
    await is(node, 'standby')
    expect((await node.core.health()).body.replication_performance_mode).toBe('secondary')
  }
  await inSync(primary, one, 'performance')
  // Unsealed by the primary's keys they can lead.
  await one.close()
  await Promise.race(others.map((node) => is(node, 'active')))
})

test('a storage replaced by anything else is called that, not a change of role', async () => {
  const { store, others } = await trio()
  await store.put('generation', Buffer.from(JSON.stringify({ format: 1, current: 7, next: 8 })))
  for (const node of others) {
    await says(node, KEYRING_UNEXPLAINED)
    await is(node, 'uninitialized')
    expect(node.logged.join('\n')).not.toContain(KEYS_CHANGED)
  }
})

test('a pill made with other keys says nothing', async () => {
  const { store, others } = await trio()
  await store.put('poison-pill/g0', new Uint8Array(32))
  await store.put('generation', Buffer.from(JSON.stringify({ format: 1, current: 7, next: 8 })))
  for (const node of others) {
    await says(node, KEYRING_UNEXPLAINED)
    expect(node.logged.join('\n')).not.toContain(KEYS_CHANGED)
  }
})

test('a generation under the same keys leaves the standbys unsealed', async () => {
  const { store, others } = await trio()
  const rows: [string, Uint8Array][] = []
  for await (const [key, value] of store.scan({ prefix: 'g0/' })) rows.push([key, value])
  for (const [key, value] of rows) await store.put(key.replace('g0/', 'g7/'), value)
  await store.put('generation', Buffer.from(JSON.stringify({ format: 1, current: 7, next: 8 })))
  for (const node of others) {
    await says(node, 'the storage was replaced by another generation under the same keys')
    expect((await node.core.health()).state).toBe('standby')
  }
})

test('a broken record of the generation is no change of keys: the standby stays, says so once and looks again', async () => {
  const { store, one, others } = await trio()
  const [two] = others as [Node, Node]
  const intact = await store.get('generation')
  await store.put('generation', Buffer.from('{'))
  await says(two, 'a standby cannot see whether its storage was replaced')
  if (intact === undefined) await store.delete('generation')
  else await store.put('generation', intact)
  expect((await two.core.health()).state).toBe('standby')
  expect(two.logged.filter((line) => line.includes('a standby cannot see'))).toHaveLength(1)
  await one.ask('update', 'sys/step-down')
  await Promise.race(others.map((node) => is(node, 'active')))
})

test('a storage that is away while the keys of a new generation are looked at is no change of keys', async () => {
  const { store, others } = await trio()
  const [two] = others as [Node, Node]
  const rows: [string, Uint8Array][] = []
  for await (const [key, value] of store.scan({ prefix: 'g0/' })) rows.push([key, value])
  for (const [key, value] of rows) await store.put(key.replace('g0/', 'g7/'), value)
  let refused = 0
  const get = store.get.bind(store)
  store.get = (key) => {
    if (!key.startsWith('poison-pill/') || refused === 2) return get(key)
    refused++
    return Promise.reject(new StorageError('STORAGE_UNAVAILABLE', 'the storage is away'))
  }
  await store.put('generation', Buffer.from(JSON.stringify({ format: 1, current: 7, next: 8 })))
  await says(two, 'the storage was replaced by another generation under the same keys')
  expect(refused).toBe(2)
  for (const node of others) expect((await node.core.health()).state).toBe('standby')
})
