// Power lost at every single write of a change: afterwards the cluster is as it was before, or as it is meant to be.
import { memoryLeaderLock, memoryStore, StorageError } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import { activationToken, inSync, link, type Node, startNode, waitFor } from '../cluster.ts'
import { copyOf, faultyStore } from '../faulty-store.ts'
import { interceptedWrites } from '../intercepted-writes.ts'

const nodes: Node[] = []
const keep = (node: Node): Node => {
  nodes.push(node)
  return node
}
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

test('init: when it is cut short, it can be done again', async () => {
  let crashes = 0
  for (let writes = 0; ; writes++) {
    const store = faultyStore(memoryStore())
    const first = keep(await startNode({ store }))
    store.failAfter(writes)
    const outcome = await first.core.initialize({ secret_shares: 1, secret_threshold: 1 }).catch(() => undefined)
    if (!store.tripped) {
      expect(outcome?.keys).toHaveLength(1)
      break
    }
    crashes++
    expect(outcome).toBeUndefined()
    await first.close()
    store.heal()
    const second = keep(await startNode({ store }))
    expect(await second.core.initialized(), `after ${writes} writes`).toBe(false)
    await second.init()
    expect((await second.ask('read', 'auth/token/lookup-self')).data?.policies).toEqual(['root'])
    await second.close()
  }
  expect(crashes).toBeGreaterThan(3)
})

test('init that fails leaves the running node as if it had never been asked', async () => {
  const store = faultyStore(memoryStore())
  const node = keep(await startNode({ store }))
  store.failAfter(4)
  await expect(node.core.initialize({ secret_shares: 1, secret_threshold: 1 })).rejects.toThrow()
  store.heal()
  expect(await node.core.sealStatus()).toMatchObject({ initialized: false, sealed: true })
  await node.init()
  expect((await node.core.health()).state).toBe('active')
})

/** Storage of a cluster that was a DR primary with a secondary, and was demoted. */
async function demoted(): Promise<Node> {
  const node = keep(await startNode())
  await node.init()
  await node.change('sys/replication/performance/primary/enable')
  await activationToken(node, 'performance', 'us')
  await node.change('sys/replication/performance/primary/demote')
  return node
}

async function everyCrash(
  prepared: Node,
  path: string,
  data: Record<string, unknown>,
  modes: { before: string; after: string },
  check: (node: Node, mode: string) => Promise<void>,
): Promise<void> {
  await prepared.close()
  const seen: string[] = []
  for (let writes = 0; ; writes++) {
    const store = faultyStore(await copyOf(prepared.store))
    const node = keep(await startNode({ store }))
    Object.assign(node, { token: prepared.token, keys: prepared.keys })
    await node.unseal()
    store.failAfter(writes)
    const outcome = await node.change(path, data).catch(() => 'refused')
    const { tripped } = store
    store.heal()
    const next = keep(await node.restart())
    await next.unseal()
    const mode = String((await next.status('performance')).mode)
    seen.push(mode)
    expect([modes.before, modes.after]).toContain(mode)
    if (outcome === 'changed') expect(mode).toBe(modes.after)
    await check(next, mode)
    await next.close()
    if (!tripped) break
  }
  expect(seen).toContain(modes.before)
  expect(seen.at(-1)).toBe(modes.after)
  expect(seen.length).toBeGreaterThan(2)
}

test('promote', async () => {
  const path = 'sys/replication/performance/secondary/promote'
  await everyCrash(await demoted(), path, {}, { before: 'secondary', after: 'primary' }, async (node, mode) => {
    if (mode === 'secondary') {
      // Promotion can be asked for again, and the secondaries of the old set are forgotten then.
      expect(await node.change(path)).toBe('changed')
    }
    expect((await node.status('performance')).known_secondaries).toEqual([])
    expect((await activationToken(node, 'performance', 'us')).length).toBeGreaterThan(100)
  })
})

test('disabling a primary', async () => {
  const prepared = keep(await startNode())
  await prepared.init()
  await prepared.change('sys/replication/performance/primary/enable')
  await activationToken(prepared, 'performance', 'us')
  const path = 'sys/replication/performance/primary/disable'
  await everyCrash(prepared, path, {}, { before: 'primary', after: 'disabled' }, async (node, mode) => {
    if (mode === 'primary') {
      expect((await node.status('performance')).known_secondaries).toEqual(['us'])
      return
    }
    await node.change('sys/replication/performance/primary/enable')
    expect((await node.status('performance')).known_secondaries).toEqual([])
  })
})

test('activation: either the own data under the own keys, or a secondary under those of the primary', async () => {
  const primary = keep(await startNode())
  await primary.init(3, 2)
  await primary.change('sys/replication/performance/primary/enable')
  const own = keep(await startNode())
  await own.init()
  await own.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await own.ask('update', 'kv/a', { precious: 'yes' })
  const { cluster_id: id } = (await own.core.health()).body
  await own.close()
  const seen = new Set<string>()
  for (let writes = 0; ; writes++) {
    const store = faultyStore(await copyOf(own.store))
    const node = keep(await startNode({ store }))
    Object.assign(node, { token: own.token, keys: own.keys })
    await node.unseal()
    const token = await activationToken(primary, 'performance', `s${writes}`)
    store.failAfter(writes)
    await node.change('sys/replication/performance/secondary/enable', { token }).catch(() => 'refused')
    const { tripped } = store
    store.heal()
    const next = keep(await node.restart())
    const { t } = (await next.core.sealStatus()) as { t: number }
    await next.unseal(t === 1 ? own.keys : primary.keys)
    const { sealed, cluster_id } = await next.core.sealStatus()
    expect(sealed).toBe(false)
    expect(cluster_id).toBe(id)
    // `bootstrapping` until the first sync is over.
    const mode = String((await next.status('performance')).mode).replace('bootstrapping', 'secondary')
    seen.add(mode)
    expect(mode).toBe(t === 1 ? 'disabled' : 'secondary')
    if (t === 1) expect((await next.ask('read', 'kv/a')).data).toEqual({ precious: 'yes' })
    else if (!tripped) await inSync(primary, next, 'performance')
    await next.close()
    if (!tripped) break
  }
  expect([...seen]).toEqual(['disabled', 'secondary'])
})

test('a node that cannot start after a change seals itself, says so, and unseals again', async () => {
  const store = faultyStore(memoryStore())
  const node = keep(await startNode({ store }))
  await node.init()
  const broken = new Error('out of order')
  const { list } = store
  store.list = (...args) =>
    node.logged.some((line) => line.includes('role has changed')) ? Promise.reject(broken) : list(...args)
  const scan = store.scan
  store.scan = (...args) => {
    if (node.logged.some((line) => line.includes('role has changed'))) throw broken
    return scan(...args)
  }
  expect(await node.change('sys/replication/dr/primary/enable')).toBe('failed')
  expect(node.logged.join('\n')).toContain('the node seals itself')
  expect((await node.core.sealStatus()).sealed).toBe(true)
  expect(await node.ask('read', 'sys/mounts')).toMatchObject({ code: 'CORE_SEALED', error: 'Vault is sealed' })
  Object.assign(store, { list, scan })
  await node.unseal()
  expect((await node.status('dr')).mode).toBe('primary')
})

test('both roles of a link survive a restart of either end', async () => {
  const primary = keep(await startNode())
  await primary.init()
  await primary.change('sys/replication/performance/primary/enable')
  const secondary = keep(await startNode())
  await secondary.init()
  await link(primary, secondary, 'performance', 'us')
  await inSync(primary, secondary, 'performance')
  const again = keep(await secondary.restart())
  await again.unseal()
  await inSync(primary, again, 'performance')
})

test.each([
  { locked: true, stored: true },
  { locked: true, stored: false },
  { locked: false, stored: true },
  { locked: false, stored: false },
])(
  'not knowing which storage is current, a node writes to none until it has looked: %o',
  async ({ locked, stored }) => {
    const primary = keep(await startNode())
    await primary.init()
    await primary.change('sys/replication/performance/primary/enable')
    const inner = memoryStore()
    const away = () => new StorageError('STORAGE_UNAVAILABLE', 'the server is restarting')
    let failing = 0
    const store = {
      ...interceptedWrites(inner, (body) => body()),
      async get(key: string) {
        if (key === 'generation' && failing-- > 0) throw away()
        return inner.get(key)
      },
      async put(key: string, value: Uint8Array) {
        const replaces = key === 'generation' && JSON.parse(Buffer.from(value).toString()).current !== 0
        if (!replaces || stored) await inner.put(key, value)
        if (!replaces) return
        failing = 1
        throw away()
      },
    }
    const node = keep(await startNode({ store, ...(locked ? { lock: memoryLeaderLock() } : {}) }))
    await node.init()
    const is = (wanted: string) => waitFor(wanted, async () => (await node.core.health()).state === wanted)
    await is('active')
    await node.ask('update', 'sys/mounts/kv', { type: 'kv' })
    const token = await activationToken(primary, 'performance', 'us')
    expect(await node.change('sys/replication/performance/secondary/enable', { token })).toBe('failed')
    expect((await node.ask('update', 'kv/a', { n: 1 })).code).toMatch(/^CORE_(?:SEALED|STANDBY)$/)

    if (!locked || stored) {
      await is('sealed')
      await node.unseal(stored ? primary.keys : node.keys)
    }
    await is('active')
    expect((await node.status('performance')).mode).toMatch(stored ? /bootstrapping|secondary/ : 'disabled')
  },
)
