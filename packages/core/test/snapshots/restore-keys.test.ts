// What a restore needs of keys, and what it must not forget: epochs that were followed, encryptions that were counted, leases.
import { randomBytes } from 'node:crypto'
import { decodePosition, encodePosition } from '@lockstep/replication'
import { staticKeySeal } from '@lockstep/seal'
import { memoryLeaderLock, memoryStore } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import { generate, inSync, link, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'
import { copyOf, faultyStore } from '../faulty-store.ts'
import { interceptedWrites } from '../intercepted-writes.ts'
import { restore, save } from './snapshot-calls.ts'

const nodes: Node[] = []
const keep = (node: Node): Node => {
  nodes.push(node)
  return node
}
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

async function cluster(options: NodeOptions = {}): Promise<Node> {
  const node = keep(await startNode(options))
  await node.init()
  await node.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await node.ask('update', 'kv/a', { state: 'then' })
  return node
}

/** Resolves with the only share of the new key. */
async function rekey(node: Node, target: 'barrier' | 'recovery'): Promise<string> {
  const { nonce } = (await node.core.rekey(target, 'start', { secret_shares: 1, secret_threshold: 1 }))!
  const { keys } = (await node.core.rekey(target, 'update', { key: node.keys[0], nonce }))!
  return (keys as string[])[0]!
}

/** A performance secondary in sync, with a root token of its own. */
async function pair(): Promise<{ primary: Node; secondary: Node }> {
  const primary = await cluster()
  await primary.change('sys/replication/performance/primary/enable')
  const secondary = keep(await startNode())
  await secondary.init()
  await link(primary, secondary, 'performance', 'eu')
  await inSync(primary, secondary, 'performance')
  secondary.token = await generate(secondary, 'root', primary.keys)
  return { primary, secondary }
}

test('a snapshot of before a rekey: refused; forced, the unseal keys of then apply and those of now no longer do', async () => {
  const node = await cluster()
  const snapshot = await save(node)
  const next = await rekey(node, 'barrier')
  await node.ask('update', 'kv/a', { state: 'now' })
  expect(await restore(node, snapshot)).toContain('possibly the snapshot is using a different set of unseal keys')
  expect((await node.ask('read', 'kv/a')).data).toEqual({ state: 'now' })

  expect(await restore(node, snapshot, { force: true })).toBe('done')
  expect((await node.core.sealStatus()).sealed).toBe(true)
  await expect(node.unseal([next])).rejects.toThrow('invalid key')
  await node.unseal()
  expect((await node.ask('read', 'kv/a')).data).toEqual({ state: 'then' })
})

test('a snapshot of before a rekey of the recovery key: refused, though the auto seal opens it; forced, the key of then applies', async () => {
  const node = await cluster({ autoSeal: staticKeySeal({ keyId: 'k', key: Buffer.alloc(32, 7) }) })
  const snapshot = await save(node)
  const next = await rekey(node, 'recovery')
  expect(await restore(node, snapshot)).toContain('possibly the snapshot is using a different autoseal key')
  expect(await generate(node, 'root', [next])).toMatch(/^hvs\./)

  expect(await restore(node, snapshot, { force: true })).toBe('done')
  await waitFor('it to unseal', async () => (await node.core.health()).state === 'active')
  await expect(generate(node, 'root', [next])).rejects.toThrow('root generation aborted')
  await node.core.generateRoot('root', 'cancel', {})
  expect(await generate(node, 'root')).toMatch(/^hvs\./)
})

test('a snapshot sent while the cluster is rekeyed is one of before: the sums are sealed at its end, by the new key', async () => {
  const node = await cluster()
  // More than is on its way before anybody reads.
  for (let n = 0; n < 8; n++) await node.ask('update', `kv/${n}`, { filler: randomBytes(200_000).toString('base64') })
  let next = ''
  const snapshot = await save(node, { meanwhile: async () => (next = await rekey(node, 'barrier')) })
  expect(await restore(node, snapshot)).toContain('possibly the snapshot is using a different set of unseal keys')
  const again = keep(await node.restart())
  await again.unseal([next])
  expect(await restore(again, snapshot, { force: true })).toBe('done')
  await again.unseal()
  expect((await again.ask('read', 'kv/a')).data).toEqual({ state: 'then' })
})

test('a rekey between the checks of a snapshot and its restore: nothing is restored', async () => {
  const seal = staticKeySeal({ keyId: 'k', key: Buffer.alloc(32, 7) })
  let decryptions = Number.NaN
  let next = ''
  const node = await cluster({
    autoSeal: {
      ...seal,
      async decrypt(envelope) {
        const opened = await seal.decrypt(envelope)
        // The sums, the key in force, and the one in the snapshot: there the checks end.
        if (++decryptions === 3) next = await rekey(node, 'recovery')
        return opened
      },
    },
  })
  const snapshot = await save(node)
  decryptions = 0
  expect(await restore(node, snapshot)).toContain('possibly the snapshot is using a different autoseal key')
  expect(next).not.toBe('')
  expect(await generate(node, 'root', [next])).toMatch(/^hvs\./)
})

test('a snapshot of before a rotation: restored, and the node goes on under the keyring of now', async () => {
  const node = await cluster()
  const snapshot = await save(node)
  await node.ask('update', 'sys/rotate')
  await node.ask('update', 'kv/a', { state: 'now' })
  expect(await restore(node, snapshot)).toBe('done')
  expect((await node.ask('read', 'kv/a')).data).toEqual({ state: 'then' })
  await node.ask('update', 'kv/b', { state: 'after' })
  const again = keep(await node.restart())
  await again.unseal()
  expect((await again.ask('read', 'sys/key-status')).data).toMatchObject({ term: 2 })
  expect((await again.ask('read', 'kv/b')).data).toEqual({ state: 'after' })
})

test('a snapshot of before a rotation: what a secondary has sealed of its own since still opens', async () => {
  const { primary, secondary } = await pair()
  const snapshot = await save(primary)
  await primary.ask('update', 'sys/rotate')
  await primary.ask('update', 'kv/a', { state: 'now' })
  await inSync(primary, secondary, 'performance')
  await waitFor('the new term', async () => (await secondary.ask('read', 'sys/key-status')).data?.term === 2)
  await secondary.ask('update', 'sys/mounts/own', { type: 'kv', local: true })
  await secondary.ask('update', 'own/a', { state: 'own' })

  expect(await restore(primary, snapshot)).toBe('done')
  await waitFor('the restored state', async () => (await secondary.ask('read', 'kv/a')).data?.state === 'then')
  await inSync(primary, secondary, 'performance')
  expect((await secondary.ask('read', 'own/a')).data).toEqual({ state: 'own' })
  const again = keep(await secondary.restart())
  await again.unseal(primary.keys)
  again.token = secondary.token
  expect((await again.ask('read', 'own/a')).data).toEqual({ state: 'own' })
  expect((await again.ask('read', 'kv/a')).data).toEqual({ state: 'then' })
})

test('one auto seal for two clusters: the other one is refused all the same; forced, the node unseals by itself', async () => {
  const seal = () => staticKeySeal({ keyId: 'k', key: Buffer.alloc(32, 7) })
  const [one, two] = [await cluster({ autoSeal: seal() }), await cluster({ autoSeal: seal() })]
  await one.ask('update', 'kv/a', { state: 'of one' })
  const snapshot = await save(one)
  expect(await restore(two, snapshot)).toContain('possibly the snapshot is using a different autoseal key')
  expect(await restore(two, snapshot, { force: true })).toBe('done')
  await waitFor('it to unseal', async () => (await two.core.health()).state === 'active')
  two.token = one.token
  expect((await two.ask('read', 'kv/a')).data).toEqual({ state: 'of one' })
  // It is one now: what one saved needs no force any more.
  expect(await restore(two, snapshot)).toBe('done')
  expect((await two.core.sealStatus()).sealed).toBe(false)
})

test('encryptions counted since the snapshot still count against the key', async () => {
  const node = await cluster()
  const snapshot = await save(node)
  for (let n = 0; n < 50; n++) await node.ask('update', 'kv/a', { n })
  const before = (await node.ask('read', 'sys/key-status')).data!.encryptions as number
  expect(await restore(node, snapshot)).toBe('done')
  expect((await node.ask('read', 'sys/key-status')).data!.encryptions).toBeGreaterThanOrEqual(before)
})

test('a later epoch that a secondary has followed since is kept, so that a stale primary stays fenced', async () => {
  const { primary, secondary } = await pair()
  const snapshot = await save(secondary)
  // As if the primary had been promoted twice since.
  const key = 'g1/d/core/replication/cursor/performance'
  const stored = async () => decodePosition((await secondary.store.get(key))!)
  await primary.close()
  const again = keep(await secondary.restart())
  await again.close()
  await again.store.put(key, encodePosition({ ...(await stored()), epoch: 3 }))
  const now = keep(await again.restart())
  await now.unseal(primary.keys)
  now.token = secondary.token
  expect(await restore(now, snapshot)).toBe('done')
  const generation = JSON.parse(Buffer.from((await now.store.get('generation'))!).toString()).current
  const restored = await now.store.get(key.replace('g1', `g${generation}`))
  expect(decodePosition(restored!)).toMatchObject({ epoch: 3 })
})

test('power lost at every single write of a restore: the state of before or the one restored, never another', async () => {
  const prepared = await cluster()
  const snapshot = await save(prepared)
  await prepared.ask('update', 'kv/a', { state: 'now' })
  await prepared.ask('update', 'kv/b', { state: 'now' })
  await prepared.close()
  const seen: string[] = []
  for (let writes = 0; ; writes++) {
    const store = faultyStore(await copyOf(prepared.store))
    const node = keep(await startNode({ store }))
    Object.assign(node, { token: prepared.token, keys: prepared.keys })
    await node.unseal()
    store.failAfter(writes)
    const outcome = await restore(node, snapshot)
    const { tripped } = store
    store.heal()
    const next = keep(await node.restart())
    await next.unseal()
    const state = (await next.ask('read', 'kv/a')).data?.state as string
    const b = (await next.ask('read', 'kv/b')).data?.state
    expect([state, b], `after ${writes} writes`).toEqual(state === 'now' ? ['now', 'now'] : ['then', undefined])
    if (outcome === 'done') expect(state, `after ${writes} writes`).toBe('then')
    if (state === 'then') {
      expect((await next.ask('read', 'sys/leases/revocation-hold')).data).toMatchObject({ held: true })
    }
    seen.push(state)
    await next.close()
    if (!tripped) break
  }
  expect(seen).toContain('now')
  expect(seen.at(-1)).toBe('then')
  expect(seen.length).toBeGreaterThan(4)
})

test('a node that is closed while it restores does not unseal itself for it afterwards', async () => {
  const seal = () => staticKeySeal({ keyId: 'k', key: Buffer.alloc(32, 7) })
  const snapshot = await save(await cluster({ autoSeal: seal() }))
  let begun = (): void => {}
  const isBegun = new Promise<void>((resolve) => {
    begun = resolve
  })
  let goOn = (): void => {}
  const inner = memoryStore()
  const store = {
    ...interceptedWrites(inner, (body) => body()),
    async put(key: string, value: Uint8Array) {
      if (key === 'generation' && JSON.parse(Buffer.from(value).toString()).current !== 0) {
        begun()
        await new Promise<void>((resolve) => {
          goOn = resolve
        })
      }
      return inner.put(key, value)
    },
  }
  const node = await cluster({ store, lock: memoryLeaderLock(), autoSeal: seal() })
  const restoring = restore(node, snapshot, { force: true })
  await isBegun
  const closing = node.core.close()
  goOn()
  await Promise.all([restoring, closing])
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(node.logged.join()).not.toMatch(/unsealed by the auto seal|auto unseal failed/)
})
