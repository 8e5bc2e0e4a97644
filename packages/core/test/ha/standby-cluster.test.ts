// Nodes over one storage and one leader lock, joined by real cluster listeners.
import { randomBytes } from 'node:crypto'
import { activeNodeName, createNodeCa, issueStandby, primaryServerName } from '@lockstep/bootstrap'
import { ALPN, dialCluster } from '@lockstep/replication-transport'
import { staticKeySeal } from '@lockstep/seal'
import { memoryLeaderLock, memoryStore } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import { CoreError } from '../../src/contracts.ts'
import type { ForwardedAnswer, ForwardedRequest } from '../../src/ha/http.ts'
import { link, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'

const nodes: Node[] = []
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

const is = (node: Node, wanted: string) =>
  waitFor(`the state ${wanted}`, async () => (await node.core.health()).state === wanted)

async function pair(options: Partial<NodeOptions> = {}) {
  const [store, lock] = [memoryStore(), memoryLeaderLock()]
  const one = await startNode({ store, lock, ...options })
  const two = await startNode({ store, lock, ...options })
  nodes.push(one, two)
  await one.init()
  await is(one, 'active')
  Object.assign(two, { token: one.token, keys: one.keys })
  await two.unseal()
  await is(two, 'standby')
  const swap = async (): Promise<void> => {
    const [from, to] = (await one.core.health()).state === 'active' ? [one, two] : [two, one]
    // Whoever waits is next.
    await new Promise((resolve) => setTimeout(resolve, 20))
    lock.revoke()
    await is(to, 'active')
    await is(from, 'standby')
  }
  return { store, lock, one, two, swap }
}

const request = (over: Partial<ForwardedRequest> = {}): ForwardedRequest => ({
  ...{ method: 'PUT', url: '/v1/kv/a', headers: ['X-Vault-Token', 't'], body: Buffer.from('{}') },
  ...{ remoteAddress: '10.1.2.3', remotePort: 4, deadline: Date.now() + 30_000 },
  ...over,
})
const served =
  (by: string, seen: ForwardedRequest[] = []) =>
  async (given: ForwardedRequest): Promise<ForwardedAnswer> => {
    seen.push(given)
    return { status: 200, headers: [], body: Buffer.from(by) }
  }
const by = (answer: ForwardedAnswer | { redirect: string }): string =>
  'redirect' in answer ? `redirect to ${answer.redirect}` : Buffer.from(answer.body).toString()

test('a node that does not lead stores nothing but the note of its own state', async () => {
  const [store, lock] = [memoryStore(), memoryLeaderLock()]
  const rows = async () => {
    const found = new Map<string, string>()
    for await (const [key, value] of store.scan())
      if (!key.startsWith('nodes/')) found.set(key, Buffer.from(value).toString('hex'))
    return found
  }
  const start = async (): Promise<Node> => {
    const node = await startNode({ store, lock })
    nodes.push(node)
    return node
  }
  // Before anybody leads, sealed or not.
  await start()
  expect(await rows()).toEqual(new Map())
  const one = await start()
  await one.init()
  await is(one, 'active')
  await one.close()
  const before = await rows()
  const sealedNode = await start()
  await sealedNode.core.health()
  expect(await rows()).toEqual(before)
})

test('no stale cache: a node that leads again serves what was written while another one led', async () => {
  const { one, two, swap } = await pair()
  const root = one.token
  await one.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await one.ask('update', 'sys/mounts/gone', { type: 'kv' })
  await one.ask('update', 'kv/a', { n: 1 })
  await one.ask('update', 'gone/a', { n: 1 })
  const policy = (capability: string) => ({ policy: `path "kv/*" { capabilities = ["${capability}"] }` })
  await one.ask('update', 'sys/policies/acl/p', policy('read'))
  const make = async (node: Node): Promise<string> =>
    (await node.ask('update', 'auth/token/create', { policies: ['p'] })).auth!.client_token
  const [kept, revoked] = [await make(one), await make(one)]
  // All of it in the caches of the first node, and what a standby looks at in those of the second.
  for (const token of [root, kept, revoked])
    expect((await one.ask('read', 'kv/a', {}, { token })).data).toEqual({ n: 1 })
  expect((await one.ask('read', 'gone/a')).data).toEqual({ n: 1 })
  await two.core.health()

  await swap()
  expect((await two.ask('read', 'kv/a', {}, { token: kept })).data).toEqual({ n: 1 })
  await two.ask('update', 'kv/a', { n: 2 })
  await two.ask('update', 'sys/policies/acl/p', policy('update'))
  await two.ask('update', 'auth/token/revoke', { token: revoked })
  await two.ask('delete', 'sys/mounts/gone')
  await two.ask('update', 'sys/mounts/new', { type: 'kv' })
  await two.ask('update', 'new/a', { n: 3 })
  await two.ask('update', 'sys/rotate')
  await two.ask('update', 'kv/b', { n: 4 })
  const made = await make(two)

  await swap()
  expect((await one.ask('read', 'kv/a')).data).toEqual({ n: 2 })
  expect((await one.ask('read', 'kv/b')).data).toEqual({ n: 4 })
  expect((await one.ask('read', 'new/a')).data).toEqual({ n: 3 })
  expect(await one.ask('read', 'gone/a')).toMatchObject({ code: 'CORE_NOT_FOUND' })
  expect(await one.ask('read', 'kv/a', {}, { token: kept })).toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
  expect(await one.ask('update', 'kv/c', {}, { token: kept })).toMatchObject({ status: 204 })
  expect(await one.ask('update', 'kv/c', {}, { token: revoked })).toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
  expect(await one.ask('update', 'kv/c', {}, { token: made })).toMatchObject({ status: 204 })
})

test('a standby forwards over the cluster port, and to the other one once that leads', async () => {
  const { one, two, swap } = await pair()
  const seen: ForwardedRequest[] = []
  one.core.serveForwarded(served('one', seen))
  two.core.serveForwarded(served('two'))
  expect([one.core.standsBy(), two.core.standsBy()]).toEqual([false, true])
  expect(by(await two.core.forward(request()))).toBe('one')
  const { deadline, ...rest } = seen[0]!
  expect({ ...rest, body: Buffer.from(rest.body).toString() }).toEqual({
    ...{ method: 'PUT', url: '/v1/kv/a', headers: ['X-Vault-Token', 't'], body: '{}' },
    ...{ remoteAddress: '10.1.2.3', remotePort: 4 },
  })
  expect(Math.abs(deadline - Date.now())).toBeLessThan(31_000)
  await swap()
  expect(by(await one.core.forward(request()))).toBe('two')
  await swap()
  expect(by(await two.core.forward(request()))).toBe('one')
  expect((await two.core.leader()).leader_cluster_address).toBe((await one.core.leader()).leader_cluster_address)
  await waitFor('an echo', async () => (await two.core.health()).body.ha_connection_healthy)
})

test('requests of the moment of change wait for the next leader, wherever it is, and none is done twice', async () => {
  const { one, two, lock } = await pair()
  const done: string[] = []
  for (const [name, node] of Object.entries({ one, two })) {
    node.core.serveForwarded(async ({ url }) => {
      done.push(url)
      return { status: 200, headers: [], body: Buffer.from(name) }
    })
  }
  await two.core.forward(request())
  done.length = 0
  const asked: Promise<unknown>[] = []
  const ask = (): void => void asked.push(two.core.forward(request({ url: `/v1/kv/${asked.length}` })))
  for (let n = 0; n < 20; n++) ask()
  lock.revoke()
  while ((await two.core.health()).state !== 'active') {
    ask()
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  for (const answer of await Promise.all(asked)) expect(answer).toMatchObject({ status: 200 })
  expect([...done].sort()).toEqual([...new Set(done)].sort())
  expect(done).toHaveLength(asked.length)
})

test('without forwarding, on either side, clients are redirected', async () => {
  const { one, two, lock } = await pair({ core: { requestForwarding: false } })
  one.core.serveForwarded(served('one'))
  expect(by(await two.core.forward(request()))).toMatch(/^redirect to http:\/\/127/)
  const three = await startNode({ store: one.store, lock })
  nodes.push(three)
  three.keys = one.keys
  await three.unseal()
  expect(by(await three.core.forward(request()))).toMatch(/^redirect to http:\/\/127/)
})

test('a node that does not serve yet refuses what is forwarded to it, and the standby waits', async () => {
  const { one, two } = await pair()
  const answer = two.core.forward(request())
  await new Promise((resolve) => setTimeout(resolve, 50))
  one.core.serveForwarded(served('one'))
  expect(by(await answer)).toBe('one')
  one.core.serveForwarded(async () => {
    throw new CoreError('CORE_STANDBY', 'Vault is in standby mode')
  })
  await expect(two.core.forward(request(), { holdMs: 0 })).rejects.toMatchObject({ code: 'CORE_STANDBY' })
})

test('while a node seals itself, and once it is sealed, it answers for itself', async () => {
  const { two, one } = await pair()
  two.core.serveForwarded(served('two itself'))
  await one.ask('update', 'sys/seal')
  await is(two, 'active')
  expect(one.core.standsBy()).toBe(false)
  expect(by(await two.core.forward(request()))).toBe('two itself')
})

test('a certificate of another authority opens nothing, and the cluster port of a standby serves no protocol', async () => {
  const { lock, one, two } = await pair()
  const { term } = JSON.parse((await lock.holder())!)
  const ca = await createNodeCa({ id: 'other', now: Date.now() })
  const own = await issueStandby(ca, { id: 'intruder', now: Date.now() })
  const dial = (servername: string, alpn: string, node = one) =>
    dialCluster({
      ...{ addresses: [node.clusterEnd], servername, alpn },
      ...{ ca: ca.certificatePem, cert: own.certificatePem, key: own.privateKeyPem },
    })
  await expect(dial(activeNodeName(term), ALPN.requestForwarding)).rejects.toMatchObject({
    code: 'TRANSPORT_UNKNOWN_AUTHORITY',
  })
  await expect(dial(activeNodeName(term), ALPN.performance)).rejects.toMatchObject({ code: 'TRANSPORT_WRONG_PROTOCOL' })
  await expect(dial(activeNodeName('other'), ALPN.requestForwarding)).rejects.toMatchObject({
    code: 'TRANSPORT_WRONG_PROTOCOL',
  })
  for (const [name, alpn] of [
    [activeNodeName(term), ALPN.requestForwarding],
    [primaryServerName('any'), ALPN.performance],
    [primaryServerName('any'), ALPN.dr],
  ] as const) {
    // What makes a dialler of several addresses try the next one.
    await expect(dial(name, alpn, two)).rejects.toMatchObject({ code: 'TRANSPORT_WRONG_PROTOCOL' })
  }
})

test('the replication status of a standby is what is stored', async () => {
  const { one, two } = await pair()
  const path = 'sys/replication/status'
  expect(await two.core.storedStatus(path)).toEqual({ performance: { mode: 'disabled' }, dr: { mode: 'disabled' } })
  expect(await two.core.storedStatus('sys/replication/dr/primary/enable')).toBeUndefined()
  await one.change('sys/replication/performance/primary/enable')
  const us = await startNode()
  nodes.push(us)
  await us.init()
  await link(one, us, 'performance', 'us')
  const shown = await two.core.storedStatus('sys/replication/performance/status')
  const { mode, cluster_id, known_secondaries, primary_cluster_addr } = await one.status('performance')
  expect(shown).toEqual({ mode, cluster_id, known_secondaries, primary_cluster_addr })
})

/** Refuses to publish as often as it is told to. */
function refusingLock() {
  const lock = memoryLeaderLock()
  const refusing = {
    ...lock,
    refusals: 0,
    async acquire(signal?: AbortSignal) {
      const held = await lock.acquire(signal)
      const publish = held.publish.bind(held)
      held.publish = (value) => {
        if (refusing.refusals === 0) return publish(value)
        refusing.refusals--
        return Promise.reject(new Error('the storage is away'))
      }
      return held
    },
  }
  return refusing
}

test('a leader that standbys could not be told of after its keys were replaced makes way, and leads again by itself', async () => {
  const primary = await startNode()
  nodes.push(primary)
  await primary.init()
  await primary.change('sys/replication/performance/primary/enable')
  const lock = refusingLock()
  const one = await startNode({ store: memoryStore(), lock })
  nodes.push(one)
  await one.init()
  await is(one, 'active')
  lock.refusals = 1
  await link(primary, one, 'performance', 'us')
  await waitFor('the reason', async () => one.logged.find((line) => line.includes('forwarding was not started')))
  await is(one, 'active')
  await waitFor('the link', async () => (await one.status('performance')).state === 'stream-wals')
})

test('whatever fails once a cluster is initialized, its shares are handed out', async () => {
  const lock = refusingLock()
  const autoSeal = staticKeySeal({ keyId: 'k', key: randomBytes(32) })
  const one = await startNode({ store: memoryStore(), lock, autoSeal })
  nodes.push(one)
  lock.refusals = 1
  await one.init()
  expect(lock.refusals).toBe(0)
  expect(one.logged.join()).toContain('forwarding was not started')
  await is(one, 'active')
  expect((await one.ask('read', 'sys/mounts')).status).toBe(200)
})
