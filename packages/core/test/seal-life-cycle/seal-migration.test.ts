// From each kind of seal to each other: what opens the storage before, during and after.
import { randomBytes } from 'node:crypto'
import { type AutoSeal, SealError, staticKeySeal } from '@lockstep/seal'
import { memoryLeaderLock, memoryStore } from '@lockstep/storage'
import { afterEach, describe, expect, test } from 'vitest'
import { generate, inSync, link, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'
import { copyOf, faultyStore } from '../faulty-store.ts'

const nodes: Node[] = []
const keep = (node: Node): Node => {
  nodes.push(node)
  return node
}
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

let made = 0
const autoSeal = (type = 'static'): AutoSeal => {
  const seal = staticKeySeal({ keyId: `k${made++}`, key: randomBytes(32) })
  return {
    type,
    keyId: seal.keyId,
    encrypt: (plaintext) => seal.encrypt(plaintext),
    decrypt: (envelope) => seal.decrypt(envelope),
    keyIdOf: (envelope) => seal.keyIdOf(envelope),
    close: () => seal.close(),
  }
}
/** Of one that cannot be reached while `away`. */
const unreliable = (seal: AutoSeal): AutoSeal & { away: boolean } => {
  const asked = <T>(answer: () => Promise<T>): Promise<T> =>
    made$.away ? Promise.reject(new SealError('SEAL_UNAVAILABLE', 'nobody answers')) : answer()
  const made$ = {
    ...seal,
    away: false,
    encrypt: (plaintext: Uint8Array) => asked(() => seal.encrypt(plaintext)),
    decrypt: (envelope: Uint8Array) => asked(() => seal.decrypt(envelope)),
  }
  return made$
}

type Seals = Pick<NodeOptions, 'autoSeal' | 'sealToMigrateFrom'>
const typeOf = (seal: AutoSeal | undefined): string => seal?.type ?? 'shamir'
const isSealed = async (node: Node): Promise<boolean> => (await node.core.sealStatus()).sealed as boolean
const is = (node: Node, wanted: string) =>
  waitFor(`the state ${wanted}`, async () => (await node.core.health()).state === wanted)

async function started(seals: Seals = {}, options: NodeOptions = {}): Promise<Node> {
  const node = keep(await startNode({ ...seals, ...options }))
  await node.init(3, 2)
  await is(node, 'active')
  await node.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await node.ask('update', 'kv/a', { n: 1 })
  return node
}
/** The same storage under another configuration. */
const configured = async (node: Node, { autoSeal, sealToMigrateFrom }: Seals): Promise<Node> =>
  keep(await node.restart({ autoSeal, sealToMigrateFrom }))
async function migrate(node: Node, keys = node.keys.slice(1)): Promise<Record<string, unknown>> {
  let status: Record<string, unknown> = {}
  for (const key of keys) status = await node.core.unseal({ key, migrate: true })
  return status
}

const directions: [string, () => { from: AutoSeal | undefined; to: AutoSeal | undefined }][] = [
  ['shamir to auto', () => ({ from: undefined, to: autoSeal() })],
  ['auto to shamir', () => ({ from: autoSeal(), to: undefined })],
  ['auto to auto of another kind', () => ({ from: autoSeal(), to: autoSeal('transit') })],
  ['auto to auto of the same kind', () => ({ from: autoSeal(), to: autoSeal() })],
]

describe.each(directions)('%s', (_direction, make) => {
  test('by the shares the operators have, which stay theirs', async () => {
    const { from, to } = make()
    const former = await started({ autoSeal: from })
    const next = { autoSeal: to, sealToMigrateFrom: from }
    const node = await configured(former, next)
    const waiting = { sealed: true, initialized: true, migration: true, type: typeOf(to), t: 2, n: 3 }
    expect(await node.core.sealStatus()).toMatchObject(waiting)
    await expect(node.core.unseal({ key: node.keys[0] })).rejects.toMatchObject({
      code: 'CORE_INVALID_REQUEST',
      message: 'migrate option not provided and seal migration is pending',
    })
    expect(await migrate(node, node.keys.slice(0, 1))).toMatchObject({ ...waiting, progress: 1 })
    await expect(migrate(node, [randomBytes(33).toString('hex')])).rejects.toThrow('unseal failed, invalid key')
    expect(await migrate(node)).toMatchObject({
      ...{ sealed: false, migration: false, type: typeOf(to), t: 2, n: 3, recovery_seal: to !== undefined },
    })
    expect((await node.ask('read', 'kv/a')).data).toEqual({ n: 1 })
    expect(await generate(node, 'root')).toMatch(/^hvs\./)

    // Whether or not the disabled seal is still configured.
    for (const seals of [next, { autoSeal: to }]) {
      const again = await configured(nodes.at(-1)!, seals)
      expect(await again.core.sealStatus()).toMatchObject({ sealed: to === undefined, migration: false })
      if (to === undefined) {
        await expect(migrate(again)).rejects.toThrow("can't perform a seal migration, no migration seal found")
        await again.unseal(again.keys.slice(0, 2))
      }
      expect(await isSealed(again)).toBe(false)
      expect((await again.ask('read', 'kv/a')).data).toEqual({ n: 1 })
      expect(await generate(again, 'root')).toMatch(/^hvs\./)
    }

    // The former configuration opens nothing any more.
    await nodes.at(-1)!.close()
    const refused = await startNode({ store: former.store, autoSeal: from }).then(keep, (error: Error) => error)
    if (refused instanceof Error) expect(refused.message).toMatch(/cannot seal migrate from|could not open/)
    else {
      const answer = await refused.core.unseal({ key: former.keys[0] }).then(String, (error: Error) => error.message)
      expect(answer).toMatch(/cannot seal migrate from|does not unseal with shares|migrate option not provided/)
      expect(await isSealed(refused)).toBe(true)
    }
  })

  test('power lost at any write: the migration is done, or can be done again', async () => {
    const { from, to } = make()
    const prepared = await started({ autoSeal: from })
    await prepared.close()
    const seals = { autoSeal: to, sealToMigrateFrom: from }
    const seen: string[] = []
    for (let writes = 0; ; writes++) {
      const store = faultyStore(await copyOf(prepared.store))
      const node = keep(await startNode({ ...seals, store }))
      store.failAfter(writes)
      const outcome = await migrate(node, prepared.keys.slice(0, 2)).catch(() => undefined)
      const { tripped } = store
      await node.close()
      store.heal()
      const again = keep(await startNode({ ...seals, store }))
      const { migration } = await again.core.sealStatus()
      if (outcome?.sealed === false) expect(migration).toBe(false)
      if (migration) await migrate(again, prepared.keys.slice(0, 2))
      else if (to === undefined) await again.unseal(prepared.keys.slice(0, 2))
      again.token = prepared.token
      expect((await again.ask('read', 'kv/a')).data, `after ${writes} writes`).toEqual({ n: 1 })
      expect(await generate(again, 'root', prepared.keys)).toMatch(/^hvs\./)
      seen.push(migration ? 'before' : 'after')
      await again.close()
      if (!tripped) break
    }
    expect(seen[0]).toBe('before')
    expect(seen.at(-1)).toBe('after')
  })

  test('in a cluster of two: the standby first, then the one that leads', async () => {
    const { from, to } = make()
    const [store, lock] = [memoryStore(), memoryLeaderLock()]
    const one = await started({ autoSeal: from }, { store, lock })
    const two = keep(await startNode({ store, lock, autoSeal: to, sealToMigrateFrom: from }))
    Object.assign(two, { token: one.token, keys: one.keys })
    expect(await migrate(two)).toMatchObject({ sealed: false, migration: true })
    const old = keep(await startNode({ store, lock, autoSeal: from }))
    await old.unseal(one.keys.slice(0, 2))
    await Promise.all([is(two, 'standby'), is(old, 'standby')])

    await one.close()
    await is(two, 'active')
    expect(await two.core.sealStatus()).toMatchObject({ migration: false, type: typeOf(to) })
    expect((await two.ask('read', 'kv/a')).data).toEqual({ n: 1 })
    expect(await generate(two, 'root')).toMatch(/^hvs\./)

    // A node that still has the former configuration cannot lead, and says why.
    lock.revoke()
    await is(old, 'sealed')
    expect(old.logged.join('\n')).toContain('the seal was changed by another node')
    await is(two, 'active')
    const last = await configured(one, { autoSeal: to, sealToMigrateFrom: from })
    if (to === undefined) await last.unseal(one.keys.slice(0, 2))
    await waitFor('the last node', async () => !(await isSealed(last)))
    expect((await two.ask('read', 'kv/a')).data).toEqual({ n: 1 })
  })

  test('a primary stays one: it knows its secondaries, and takes another', async () => {
    const { from, to } = make()
    const primary = await started({ autoSeal: from })
    await primary.change('sys/replication/performance/primary/enable')
    const secondary = await started()
    await link(primary, secondary, 'performance', 'b')
    const migrated = await configured(primary, { autoSeal: to, sealToMigrateFrom: from })
    await migrate(migrated)
    expect((await migrated.status('performance')).known_secondaries).toEqual(['b'])
    const another = await started()
    await link(migrated, another, 'performance', 'c')
    await inSync(migrated, another, 'performance')
    expect(await generate(another, 'root')).toMatch(/^hvs\./)
  })
})

test('a secondary is migrated as any other cluster, and goes on following', async () => {
  const primary = await started()
  const secondary = await started()
  await primary.change('sys/replication/dr/primary/enable')
  await link(primary, secondary, 'dr', 'b')
  await inSync(primary, secondary, 'dr')
  const seal = autoSeal()
  const migrated = await configured(secondary, { autoSeal: seal })
  expect(await migrate(migrated, primary.keys.slice(0, 2))).toMatchObject({ sealed: false, migration: false })
  await primary.ask('update', 'kv/a', { n: 2 })
  await inSync(primary, migrated, 'dr')
  const back = await configured(migrated, { sealToMigrateFrom: seal })
  expect(await migrate(back, primary.keys.slice(0, 2))).toMatchObject({ sealed: false, migration: false })
  await inSync(primary, back, 'dr')
  expect(await generate(back, 'dr-operation', primary.keys)).toMatch(/^hvr\./)
})

test('a configuration that cannot open the storage is refused with the reason', async () => {
  const [one, other] = [autoSeal(), autoSeal('transit')]
  const { store } = await started({ autoSeal: one })
  await nodes.at(-1)!.close()
  for (const [seals, text] of [
    [{}, 'cannot seal migrate from "static" to "Shamir", no disabled seal in configuration'],
    [{ autoSeal: other }, 'cannot seal migrate from "static" to "transit", no disabled seal in configuration'],
    [{ sealToMigrateFrom: other }, 'the storage is sealed by "static", which is neither'],
    [{ autoSeal: autoSeal(), sealToMigrateFrom: autoSeal() }, 'neither the old nor the new static seal opens'],
  ] as const) {
    await expect(startNode({ store, ...seals })).rejects.toThrow(text)
  }
})

test('while the new seal cannot be asked, nothing changes', async () => {
  const former = await started()
  const seal = unreliable(autoSeal())
  const node = await configured(former, { autoSeal: seal })
  seal.away = true
  await expect(migrate(node)).rejects.toThrow('nobody answers')
  expect(await node.core.sealStatus()).toMatchObject({ sealed: true, migration: true })
  seal.away = false
  expect(await migrate(node)).toMatchObject({ sealed: false, migration: false })
})

test('a rekey between unsealing a standby for the migration and its lead is not lost', async () => {
  const [store, lock] = [memoryStore(), memoryLeaderLock()]
  const one = await started({}, { store, lock })
  const seal = autoSeal()
  const two = keep(await startNode({ store, lock, autoSeal: seal }))
  two.keys = one.keys
  await migrate(two)
  const { nonce } = (await one.core.rekey('barrier', 'start', { secret_shares: 1, secret_threshold: 1 }))!
  await one.core.rekey('barrier', 'update', { key: one.keys[0], nonce })
  const { keys } = (await one.core.rekey('barrier', 'update', { key: one.keys[1], nonce })) as { keys: string[] }
  await one.close()
  await is(two, 'active')
  expect(await two.core.sealStatus()).toMatchObject({ type: 'static', t: 1, n: 1 })
  expect(await generate(two, 'root', keys)).toMatch(/^hvs\./)
  await expect(generate(two, 'root', one.keys)).rejects.toThrow('root generation')
})
