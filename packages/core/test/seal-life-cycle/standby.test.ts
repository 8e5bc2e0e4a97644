// Two nodes over one storage and one leader lock.
import { memoryLeaderLock, memoryStore, StorageError } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import { inSync, link, type Node, startNode, waitFor } from '../cluster.ts'
import { interceptedWrites } from '../intercepted-writes.ts'

const nodes: Node[] = []
async function pair() {
  const store = memoryStore()
  const lock = memoryLeaderLock()
  const one = await startNode({ store, lock })
  const two = await startNode({ store, lock })
  nodes.push(one, two)
  return { store, lock, one, two }
}
const is = (node: Node, wanted: string) =>
  waitFor(`the state ${wanted}`, async () => (await node.core.health()).state === wanted)

async function activePair() {
  const made = await pair()
  const { one, two } = made
  await one.init(3, 2)
  await is(one, 'active')
  Object.assign(two, { token: one.token, keys: one.keys })
  await two.unseal()
  await one.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await one.ask('update', 'kv/a', { n: 1 })
  return made
}

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

test('the second node stands by: it unseals without waiting, answers 429 and says who leads', async () => {
  const { one, two } = await activePair()
  expect(await two.core.sealStatus()).toMatchObject({ sealed: false, initialized: true })
  const { state, body } = await two.core.health()
  expect(state).toBe('standby')
  expect(body).toMatchObject({ standby: true, sealed: false, cluster_id: (await one.core.health()).body.cluster_id })
  expect(await two.ask('read', 'kv/a')).toMatchObject({ code: 'CORE_STANDBY', error: 'Vault is in standby mode' })
  expect(await two.core.leader()).toMatchObject({
    ...{ ha_enabled: true, is_self: false },
    leader_address: (await one.core.leader()).leader_address,
  })
  expect((await two.core.leader()).leader_address).toMatch(/^http/)
  await expect(two.core.generateRoot('root', 'start', {})).rejects.toMatchObject({ code: 'CORE_STANDBY' })
})

test('a standby can be closed while another node leads', async () => {
  const { one, two } = await activePair()
  await two.core.close()
  expect((await two.core.leader().catch(({ code }) => code)) as string).toBe('CORE_SEALED')
  expect((await one.core.health()).state).toBe('active')
})

test('it takes over with everything written since it was unsealed, and writes on', async () => {
  const { store, lock, one, two } = await activePair()
  for (let n = 0; n < 20; n++) await one.ask('update', `kv/many/${n}`, { n })
  await one.ask('update', 'sys/rotate')
  await one.ask('update', 'kv/a', { n: 2 })
  await one.change('sys/replication/dr/primary/enable')
  const { last_wal: before } = (await one.core.health()).body
  lock.revoke()
  await is(two, 'active')
  await is(one, 'standby')
  expect((await two.ask('read', 'kv/a')).data).toEqual({ n: 2 })
  expect((await two.status('dr')).mode).toBe('primary')
  await two.ask('update', 'kv/a', { n: 3 })
  expect((await two.core.health()).body.last_wal).toBeGreaterThan(before as number)
  expect(await one.ask('read', 'kv/a')).toMatchObject({ code: 'CORE_STANDBY' })

  lock.revoke()
  await is(one, 'active')
  expect((await one.ask('read', 'kv/a')).data).toEqual({ n: 3 })
  // Index and log agree with the data, whoever wrote it: a secondary can sync from it.
  const dr = await startNode()
  nodes.push(dr)
  await dr.init()
  await link(one, dr, 'dr', 'dr')
  await inSync(one, dr, 'dr')
  expect(store).toBeDefined()
})

test('step-down hands the lead over', async () => {
  const { one, two } = await activePair()
  expect(await one.ask('update', 'sys/step-down')).toMatchObject({ status: 204 })
  await is(two, 'active')
  await is(one, 'standby')
  expect((await two.ask('read', 'kv/a')).data).toEqual({ n: 1 })
})

test('sealing the leader lets the other one lead', async () => {
  const { one, two } = await activePair()
  await one.ask('update', 'sys/seal')
  await is(one, 'sealed')
  await is(two, 'active')
  await one.unseal()
  expect((await one.core.health()).state).toBe('standby')
})

test("when the leader joins a primary, the standby's keys are dead: it seals itself and takes the primary's", async () => {
  const primary = await startNode()
  nodes.push(primary)
  await primary.init(2, 2)
  await primary.change('sys/replication/performance/primary/enable')
  const { one, two } = await activePair()
  await link(primary, one, 'performance', 'us')
  await inSync(primary, one, 'performance')
  await is(two, 'sealed')
  expect(two.logged.join('\n')).toContain('encryption keys have changed out from underneath us')
  expect(await two.core.sealStatus()).toMatchObject({ sealed: true, t: 2, n: 2 })
  await two.unseal(primary.keys)
  expect((await two.core.health()).body).toMatchObject({ standby: true, replication_performance_mode: 'secondary' })
})

test('only one of two nodes can initialize', async () => {
  const { one, two } = await pair()
  const outcomes = await Promise.allSettled(
    [one, two].map(({ core }) => core.initialize({ secret_shares: 1, secret_threshold: 1 })),
  )
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({
    reason: { message: 'Vault is already initialized' },
  })
})

test('a read that fails while a node unseals leaves it sealed, and it unseals when asked again', async () => {
  const inner = memoryStore()
  let trouble: 'none' | 'near' | 'now' | 'over' = 'none'
  const store = {
    ...interceptedWrites(inner, (body) => body()),
    async get(key: string) {
      if (trouble === 'near' && key.endsWith('/core/keyring')) trouble = 'now'
      else if (trouble === 'now') {
        trouble = 'over'
        throw new StorageError('STORAGE_UNAVAILABLE', 'the connection was cut')
      }
      return inner.get(key)
    },
  }
  const node = await startNode({ store, lock: memoryLeaderLock() })
  nodes.push(node)
  await node.init()
  await is(node, 'active')
  await node.ask('update', 'sys/seal')
  await is(node, 'sealed')
  trouble = 'near'
  await expect(node.unseal()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
  expect(trouble).toBe('over')
  expect(await node.core.sealStatus()).toMatchObject({ sealed: true })
  await node.unseal()
  await is(node, 'active')
})
