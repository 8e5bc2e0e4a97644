// What a node does with an auto seal whose provider goes away, comes back, and rotates its key.
import { randomBytes } from 'node:crypto'
import { type AutoSeal, SealError, staticKeySeal } from '@lockstep/seal'
import { memoryLeaderLock, memoryStore } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import { activationToken, generate, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'

const nodes: Node[] = []
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})
async function start(options: NodeOptions): Promise<Node> {
  const node = await startNode(options)
  nodes.push(node)
  return node
}

/** A seal whose provider can be taken away. */
function provider(seal: AutoSeal = staticKeySeal({ keyId: 'k', key: randomBytes(32) })) {
  const state = { away: false, tampers: false, calls: 0 }
  const reach = (): void => {
    state.calls++
    if (state.away) throw new SealError('SEAL_UNAVAILABLE', 'the provider cannot be reached: ECONNREFUSED')
  }
  const autoSeal: AutoSeal = {
    type: seal.type,
    keyId: seal.keyId,
    async encrypt(plaintext) {
      reach()
      return seal.encrypt(state.tampers ? plaintext.map((byte) => byte ^ 1) : plaintext)
    },
    async decrypt(envelope) {
      reach()
      return seal.decrypt(envelope)
    },
    keyIdOf: (envelope) => seal.keyIdOf(envelope),
    close: () => seal.close(),
  }
  return { autoSeal, state }
}

const isSealed = async (node: Node) => (await node.core.sealStatus()).sealed
const gauge = async (node: Node, name: string) =>
  (await node.core.metrics()).samples.find((sample) => sample.name === name)?.value

test('a node starts sealed while the provider is away, says why, and unseals when it is back', async () => {
  const store = memoryStore()
  const { autoSeal, state } = provider()
  const first = await start({ store, autoSeal })
  await first.init(2, 2)
  await first.close()
  state.away = true
  const node = await start({ store, autoSeal })
  expect(await isSealed(node)).toBe(true)
  expect(node.logged.join()).toContain('auto unseal failed, the node stays sealed until it succeeds')
  expect(node.logged.join()).toContain('the provider cannot be reached: ECONNREFUSED')
  await waitFor('another try', async () => node.logged.join().includes('auto unseal failed, trying again'))
  expect(await node.core.health()).toMatchObject({ state: 'sealed' })
  expect(await node.core.sealBackendStatus()).toMatchObject({
    healthy: false,
    unhealthy_since: expect.stringMatching(/Z$/),
  })
  state.away = false
  await waitFor('the node to unseal', async () => (await node.core.health()).state === 'active')
  expect(node.logged.join()).toContain('unsealed by the auto seal')
  expect(await node.core.sealBackendStatus()).toMatchObject({ healthy: true })
})

test('an operator who seals the node ends the tries', async () => {
  const store = memoryStore()
  const { autoSeal, state } = provider()
  const node = await start({ store, autoSeal })
  await node.init()
  await node.ask('update', 'sys/seal')
  const { calls } = state
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(state.calls).toBe(calls)
  expect(await isSealed(node)).toBe(true)
})

test('a running node goes on without the provider; what needs it fails and says so', async () => {
  const { autoSeal, state } = provider()
  const node = await start({ autoSeal })
  await node.init(2, 2)
  await node.ask('update', 'sys/mounts/kv', { type: 'kv' })
  expect(await node.core.sealBackendStatus()).toEqual({
    healthy: true,
    fully_wrapped: true,
    backends: [{ name: 'static', healthy: true, configured: true, disabled: false }],
  })
  state.away = true
  await expect(generate(node, 'root')).rejects.toMatchObject({
    code: 'CORE_UNAVAILABLE',
    message: expect.stringContaining('auto seal static: the provider cannot be reached'),
  })
  expect(await node.ask('update', 'kv/a', { written: 'meanwhile' })).toMatchObject({ status: 204 })
  expect(await node.ask('update', 'sys/rotate')).toMatchObject({ status: 204 })
  expect(await node.core.health()).toMatchObject({ state: 'active' })
  const status = await node.core.sealBackendStatus()
  expect(status).toMatchObject({
    healthy: false,
    backends: [{ name: 'static', healthy: false, unhealthy_since: status.unhealthy_since }],
  })
  expect(await gauge(node, 'seal.decrypt.error')).toBeGreaterThan(0)
  await waitFor('time to pass', async () => (await gauge(node, 'seal.unreachable.time'))! > 0)
  state.away = false
  await node.core.generateRoot('root', 'cancel', {})
  expect(await generate(node, 'root')).toMatch(/^hvs\./)
  expect(await gauge(node, 'seal.unreachable.time')).toBe(0)
  expect(await node.ask('read', 'kv/a')).toMatchObject({ data: { written: 'meanwhile' } })
})

test('nothing is changed when the provider is away as a node is to become a secondary', async () => {
  const primary = await start({})
  await primary.init()
  await primary.change('sys/replication/performance/primary/enable')
  const { autoSeal, state } = provider()
  const node = await start({ autoSeal })
  await node.init(2, 2)
  const token = await activationToken(primary, 'performance', 'us')
  state.away = true
  await node.change('sys/replication/performance/secondary/enable', { token }).catch(() => {})
  expect(await node.status('performance')).toMatchObject({ mode: 'disabled' })
  state.away = false
  expect(await generate(node, 'root')).toMatch(/^hvs\./)
})

test('a seal that does not open what it sealed is not used', async () => {
  const { autoSeal, state } = provider()
  state.tampers = true
  const node = await start({ autoSeal })
  await expect(node.core.initialize({ recovery_shares: 1, recovery_threshold: 1 })).rejects.toMatchObject({
    code: 'CORE_UNAVAILABLE',
    message: expect.stringContaining('does not open what it sealed'),
  })
  expect(await node.core.initialized()).toBe(false)
  state.tampers = false
  await node.init()
  expect(await isSealed(node)).toBe(false)
})

test('after a rotation both keys are sealed anew, and the former key is needed no more', async () => {
  const store = memoryStore()
  const [key, previousKey] = [randomBytes(32), randomBytes(32)]
  const before = await start({ store, autoSeal: staticKeySeal({ keyId: 'old', key: previousKey }) })
  await before.init(2, 2)
  await before.close()
  const both = staticKeySeal({ keyId: 'new', key, previousKeyId: 'old', previousKey })
  const rotating = await before.restart({ autoSeal: both })
  nodes.push(rotating)
  await waitFor('the keys to be sealed anew', async () => rotating.logged.join().includes('sealed anew'))
  expect(await rotating.core.sealBackendStatus()).toMatchObject({ fully_wrapped: true })
  const after = await rotating.restart({ autoSeal: staticKeySeal({ keyId: 'new', key }) })
  nodes.push(after)
  expect(await isSealed(after)).toBe(false)
  expect(await generate(after, 'root')).toMatch(/^hvs\./)
})

test('a key rotated while the node runs is noticed by a test of the seal', async () => {
  const [key, previousKey] = [randomBytes(32), randomBytes(32)]
  const old = staticKeySeal({ keyId: 'old', key: previousKey })
  const both = staticKeySeal({ keyId: 'new', key, previousKeyId: 'old', previousKey })
  let current = old
  const autoSeal: AutoSeal = {
    type: 'static',
    get keyId() {
      return current.keyId
    },
    encrypt: (plaintext) => current.encrypt(plaintext),
    decrypt: (envelope) => both.decrypt(envelope),
    keyIdOf: (envelope) => both.keyIdOf(envelope),
    close() {},
  }
  const node = await start({ autoSeal, core: { sealTests: { testMs: 20, unhealthyTestMs: 20 } } })
  await node.init(2, 2)
  current = both
  await waitFor('the keys to be sealed anew', async () => node.logged.join().includes('sealed anew'))
  expect(await node.core.sealBackendStatus()).toMatchObject({ fully_wrapped: true })
  expect(await generate(node, 'root')).toMatch(/^hvs\./)
})

test('a provider that fails the tests is reported, and so is its return', async () => {
  const { autoSeal, state } = provider()
  const node = await start({ autoSeal, core: { sealTests: { testMs: 10, unhealthyTestMs: 10 } } })
  await node.init()
  state.away = true
  await waitFor('the report', async () => node.logged.join().includes('the auto seal does not work'))
  expect(await node.core.sealBackendStatus()).toMatchObject({ healthy: false })
  state.away = false
  await waitFor('the return', async () => node.logged.join().includes('the auto seal works again'))
  expect(await node.core.sealBackendStatus()).toMatchObject({ healthy: true })
})

test('another node takes the lead without the provider', async () => {
  const [store, lock] = [memoryStore(), memoryLeaderLock()]
  const { autoSeal, state } = provider()
  const options = { ...{ store, lock, autoSeal }, fenced: async () => store }
  const one = await start(options)
  await one.init(2, 2)
  const two = await start(options)
  await waitFor('a standby', async () => (await two.core.health()).state === 'standby')
  state.away = true
  await one.close()
  await waitFor('the other node to lead', async () => (await two.core.health()).state === 'active')
  expect(
    await two.ask(
      'update',
      'sys/policies/acl/p',
      { policy: 'path "kv/*" { capabilities = ["read"] }' },
      { token: one.token },
    ),
  ).toMatchObject({
    status: 204,
  })
})

test('a standby that was started before anything was stored unseals once another node has initialized it', async () => {
  const [store, lock] = [memoryStore(), memoryLeaderLock()]
  const { autoSeal } = provider()
  const standby = await start({ ...{ store, lock, autoSeal }, fenced: async () => store })
  const leader = await start({ ...{ store, lock, autoSeal }, fenced: async () => store })
  expect(await standby.core.initialized()).toBe(false)
  await leader.init(2, 2)
  await waitFor('the standby to unseal', async () => (await standby.core.health()).state === 'standby')
  expect(standby.logged.join()).not.toContain('failed')
})
