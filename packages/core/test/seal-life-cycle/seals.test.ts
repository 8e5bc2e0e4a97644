import { randomBytes } from 'node:crypto'
import { staticKeySeal } from '@lockstep/seal'
import { memoryStore } from '@lockstep/storage'
import { afterEach, describe, expect, test } from 'vitest'
import { activationToken, generate, inSync, link, type Node, startNode } from '../cluster.ts'

const nodes: Node[] = []
const autoSeal = () => staticKeySeal({ keyId: 'k', key: randomBytes(32) })
async function started(auto: boolean, shares: number, threshold: number): Promise<Node> {
  const node = await startNode(auto ? { autoSeal: autoSeal() } : {})
  nodes.push(node)
  await node.init(shares, threshold)
  return node
}
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

describe.each([
  ['shamir', 'shamir'],
  ['shamir', 'auto'],
  ['auto', 'auto'],
  ['auto', 'shamir'],
])('primary %s, secondary %s', (primarySeal, secondarySeal) => {
  test("the primary's shares take the place of the secondary's, under the secondary's own seal", async () => {
    const primary = await started(primarySeal === 'auto', 3, 2)
    const secondary = await started(secondarySeal === 'auto', 2, 2)
    const own = secondary.keys
    await primary.change('sys/replication/performance/primary/enable')
    await link(primary, secondary, 'performance', 'us')
    await inSync(primary, secondary, 'performance')
    expect(await secondary.core.sealStatus()).toMatchObject({
      ...{ t: 2, n: 3, sealed: false },
      type: secondarySeal === 'auto' ? 'static' : 'shamir',
      recovery_seal: secondarySeal === 'auto',
    })
    await expect(generate(secondary, 'root', own)).rejects.toThrow('root generation aborted')
    await secondary.core.generateRoot('root', 'cancel', {})
    expect(await generate(secondary, 'root')).toMatch(/^hvs\./)
    const again = await secondary.restart()
    nodes.push(again)
    if (secondarySeal === 'shamir') {
      await again.unseal(own).catch(() => {})
      expect(await again.core.sealStatus()).toMatchObject({ sealed: true, progress: 0 })
      await again.unseal(primary.keys.slice(1))
    }
    expect((await again.core.sealStatus()).sealed).toBe(false)
    await inSync(primary, again, 'performance')
  })
})

test('init: fields that belong to the other kind of seal are refused by name', async () => {
  for (const [options, params, text] of [
    [
      {},
      { recovery_shares: 5, recovery_threshold: 3 },
      'parameters recovery_shares,recovery_threshold not applicable to seal type shamir',
    ],
    [
      { autoSeal: autoSeal() },
      { secret_shares: 5, secret_threshold: 3 },
      'parameters secret_shares,secret_threshold not applicable to seal type static',
    ],
    [{}, { secret_shares: 2, secret_threshold: 1 }, 'invalid seal configuration: threshold must be greater than one'],
    [{}, { secret_shares: 256, secret_threshold: 3 }, 'invalid seal configuration: shares must be less than 256'],
    [
      {},
      { secret_shares: 3, secret_threshold: 4 },
      'invalid seal configuration: threshold cannot be larger than shares',
    ],
    [{}, { pgp_keys: ['x'] }, 'pgp_keys'],
  ] as const) {
    const node = await startNode(options)
    nodes.push(node)
    await expect(node.core.initialize(params)).rejects.toThrow(text)
    expect(await node.core.initialized()).toBe(false)
  }
})

test('init answers keys in hex and base64, and a second init is refused', async () => {
  const node = await startNode()
  nodes.push(node)
  const made = await node.core.initialize({ secret_shares: 3, secret_threshold: 2 })
  const keys = made.keys as string[]
  expect(made.keys_base64).toEqual(keys.map((key) => Buffer.from(key, 'hex').toString('base64')))
  expect(await node.core.sealStatus()).toMatchObject({ sealed: true, initialized: true, progress: 0, t: 2, n: 3 })
  await expect(node.core.initialize({})).rejects.toThrow('Vault is already initialized')
  await node.core.unseal({ key: keys[0] })
  expect(await node.core.unseal({ key: keys[0] })).toMatchObject({ progress: 1, nonce: expect.stringMatching(/./) })
  await expect(node.core.unseal({ key: 'no key' })).rejects.toThrow('valid hex or base64')
  expect(await node.core.unseal({ reset: true })).toMatchObject({ progress: 0, nonce: '' })
  await node.core.unseal({ key: keys[2] })
  expect(await node.core.unseal({ key: Buffer.from(keys[1]!, 'hex').toString('base64') })).toMatchObject({
    sealed: false,
  })
})

test('an auto-sealed node unseals at start, stays sealed when told to, and refuses the seal of another', async () => {
  const store = memoryStore()
  const seal = autoSeal()
  const node = await startNode({ store, autoSeal: seal })
  nodes.push(node)
  await node.init(2, 2)
  await node.ask('update', 'sys/seal')
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect((await node.core.sealStatus()).sealed).toBe(true)
  const again = await node.restart()
  nodes.push(again)
  expect((await again.core.sealStatus()).sealed).toBe(false)
  await again.close()
  await expect(startNode({ store })).rejects.toThrow('cannot seal migrate from "static" to "Shamir"')
  const stranger = await startNode({ store, autoSeal: autoSeal() })
  nodes.push(stranger)
  expect(await stranger.core.sealStatus()).toMatchObject({ sealed: true, initialized: true, recovery_seal: true })
  expect(stranger.logged.join()).toContain('the auto seal could not open the stored root key')
})

test('shares given so far do not outlive a change of keys', async () => {
  const primary = await started(false, 2, 2)
  await primary.change('sys/replication/dr/primary/enable')
  const node = await started(false, 2, 2)
  const { nonce } = (await node.core.generateRoot('root', 'start', {}))!
  await node.core.generateRoot('root', 'update', { key: node.keys[0], nonce })
  const token = await activationToken(primary, 'dr', 'dr')
  await node.change('sys/replication/dr/secondary/enable', { token })
  expect(await node.core.generateRoot('dr-operation', 'status', {})).toMatchObject({ started: false, progress: 0 })
})
