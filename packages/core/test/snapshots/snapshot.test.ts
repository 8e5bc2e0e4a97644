// Saving and restoring of a cluster: what is in the file, what is refused, and what a restore leaves.
import { gunzipSync } from 'node:zlib'
import { memoryLeaderLock, memoryStore } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import { generate, inSync, link, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'
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
  await node.init(3, 2)
  await node.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await node.ask('update', 'kv/a', { text: 'needle in the hay' })
  return node
}
const OTHER_KEYS =
  'CORE_INVALID_REQUEST: could not verify hash file, possibly the snapshot is using a different set of unseal keys; use the snapshot-force API to bypass this check'

test('what was written since is gone and what was there is back; the cluster goes on unsealed', async () => {
  const node = await cluster()
  const snapshot = await save(node)
  await node.ask('update', 'kv/a', { text: 'later' })
  await node.ask('update', 'kv/b', { text: 'later' })
  await node.ask('update', 'sys/mounts/other', { type: 'kv' })
  const before = (await node.core.health()).body.last_wal as number

  expect(await restore(node, snapshot)).toBe('done')
  expect(await node.core.sealStatus()).toMatchObject({ sealed: false })
  expect((await node.ask('read', 'kv/a')).data).toEqual({ text: 'needle in the hay' })
  expect((await node.ask('read', 'kv/b')).code).toBe('CORE_NOT_FOUND')
  expect((await node.ask('read', 'other/x')).code).toBe('CORE_NOT_FOUND')
  // The log goes on where nobody has been.
  expect((await node.core.health()).body.last_wal).toBeGreaterThan(before)
  await node.ask('update', 'kv/c', { text: 'after' })
  const again = keep(await node.restart())
  await again.unseal()
  expect((await again.ask('read', 'kv/c')).data).toEqual({ text: 'after' })
  // Only one generation is left.
  await waitFor('the old generation to be deleted', async () => (await node.store.list('')).join() === 'g1/,generation')
})

test('a snapshot is one state of the storage, taken while writes go on; nothing in it is in clear text', async () => {
  const node = await cluster()
  let running = true
  let last = 0
  const writing = (async () => {
    while (running) {
      last++
      // Two keys that every state but the one between shows alike; a later state never has a smaller number.
      await node.ask('update', 'kv/one', { n: last })
      await node.ask('update', 'kv/two', { n: last })
    }
  })()
  await waitFor('some writes', async () => last > 20)
  const snapshots = [await save(node), await save(node)]
  running = false
  await writing
  for (const snapshot of snapshots) {
    expect(await restore(node, snapshot)).toBe('done')
    const [one, two] = [(await node.ask('read', 'kv/one')).data!.n, (await node.ask('read', 'kv/two')).data!.n]
    expect([0, 1]).toContain((one as number) - (two as number))
    expect((await node.ask('read', 'sys/replication/status')).error).toBeUndefined()
    const plain = gunzipSync(snapshot)
    expect(plain.includes('needle in the hay')).toBe(false)
    expect(plain.includes(node.token)).toBe(false)
  }
})

test('a snapshot of another cluster is refused with the words of Vault; forced, the node seals and takes the keys of the other', async () => {
  const [one, two] = [await cluster(), await cluster()]
  await one.ask('update', 'kv/a', { text: 'of one' })
  const snapshot = await save(one)
  expect(await restore(two, snapshot)).toBe(OTHER_KEYS)
  expect((await two.ask('read', 'kv/a')).data).toEqual({ text: 'needle in the hay' })

  expect(await restore(two, snapshot, { force: true })).toBe('done')
  expect(await two.core.sealStatus()).toMatchObject({ sealed: true, initialized: true })
  await two.unseal().catch(() => {})
  expect((await two.core.sealStatus()).sealed).toBe(true)
  await two.core.unseal({ reset: true })
  await two.unseal(one.keys)
  two.token = one.token
  expect((await two.ask('read', 'kv/a')).data).toEqual({ text: 'of one' })
  expect((await two.ask('read', 'sys/leases/revocation-hold')).data).toMatchObject({
    ...{ held: true, reason: expect.stringContaining('restored from a snapshot') },
  })
})

test('a snapshot cut short anywhere, changed anywhere, or of something else is refused and nothing changes', async () => {
  const node = await cluster()
  const snapshot = await save(node)
  await node.ask('update', 'kv/a', { text: 'now' })
  const damaged: Buffer[] = [Buffer.alloc(0), Buffer.from('not a snapshot at all'), Buffer.alloc(5000, 7)]
  for (let part = 1; part < 12; part++) damaged.push(snapshot.subarray(0, Math.floor((snapshot.length * part) / 12)))
  for (let part = 0; part < 12; part++) {
    const changed = Buffer.from(snapshot)
    changed[Math.floor((snapshot.length * part) / 12)]! ^= 0x10
    damaged.push(changed)
  }
  for (const bytes of damaged) {
    for (const force of [false, true]) {
      const outcome = await restore(node, bytes, { force })
      // A bit of the compressed form that changes nothing of the content does no harm.
      if (outcome !== 'done') expect(outcome).toMatch(/^CORE_INVALID_REQUEST: /)
      else await node.ask('update', 'kv/a', { text: 'now' })
      expect((await node.ask('read', 'kv/a')).data).toEqual({ text: 'now' })
    }
  }
  await waitFor('what was read of them to be deleted', async () => (await node.store.list('')).length === 2)
})

test('a body that breaks off changes nothing, and another restore is free to begin', async () => {
  const node = await cluster()
  const snapshot = await save(node)
  await node.ask('update', 'kv/a', { text: 'now' })
  async function* broken() {
    yield snapshot.subarray(0, 2000)
    throw new Error('the client hung up')
  }
  expect(await restore(node, broken())).toMatch(/^CORE_/)
  expect((await node.ask('read', 'kv/a')).data).toEqual({ text: 'now' })
  expect(await restore(node, snapshot)).toBe('done')
  expect((await node.ask('read', 'kv/a')).data).toEqual({ text: 'needle in the hay' })
})

test('saving takes what the policy of Vault gives, restoring sudo', async () => {
  const node = await cluster()
  const tokenWith = async (name: string, policy: string): Promise<string> => {
    await node.ask('update', `sys/policies/acl/${name}`, { policy })
    return (await node.ask('update', 'auth/token/create', { policies: [name] })).auth!.client_token
  }
  const nobody = await tokenWith('nobody', 'path "kv/*" { capabilities = ["read"] }')
  const reader = await tokenWith('reader', 'path "sys/storage/raft/snapshot" { capabilities = ["read", "update"] }')
  const admin = await tokenWith(
    'admin',
    'path "sys/storage/raft/snapshot*" { capabilities = ["read", "update", "sudo"] }',
  )
  const path = 'sys/storage/raft/snapshot'
  await expect(save(node, { path, token: nobody })).rejects.toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
  const snapshot = await save(node, { path, token: reader })
  expect(await restore(node, snapshot, { path, token: reader })).toMatch(/^CORE_PERMISSION_DENIED/)
  expect(await restore(node, snapshot, { path, force: true, token: reader })).toMatch(/^CORE_PERMISSION_DENIED/)
  expect(await restore(node, snapshot, { path, token: admin })).toBe('done')
  expect(await restore(node, snapshot, { path, force: true, token: admin })).toBe('done')
})

test('a restored primary and its secondaries agree again, although they had followed it further', async () => {
  const primary = await cluster()
  await primary.change('sys/replication/performance/primary/enable')
  await primary.change('sys/replication/dr/primary/enable')
  const [performance, dr] = [keep(await startNode()), keep(await startNode())]
  await performance.init()
  await dr.init()
  await link(primary, performance, 'performance', 'eu')
  await link(primary, dr, 'dr', 'dr')
  await inSync(primary, performance, 'performance')
  const snapshot = await save(primary)
  for (let n = 0; n < 30; n++) await primary.ask('update', `kv/later/${n}`, { n })
  await primary.ask('update', 'sys/rotate')
  await primary.ask('update', 'kv/a', { text: 'later' })
  await inSync(primary, performance, 'performance')
  await inSync(primary, dr, 'dr')
  const followed = (await performance.status('performance')).last_remote_wal as number

  expect(await restore(primary, snapshot)).toBe('done')
  expect((await primary.core.health()).body.last_wal).toBeGreaterThan(followed)
  const status = await inSync(primary, performance, 'performance')
  expect(status).toMatchObject({ last_diff_reason: expect.stringMatching(/no longer reaches back|ends at|differs/) })
  await inSync(primary, dr, 'dr')
  for (let n = 0; n < 40; n++) await primary.ask('update', `kv/anew/${n}`, { n })
  await inSync(primary, performance, 'performance')
  await inSync(primary, dr, 'dr')
  performance.token = await generate(performance, 'root')
  const reads = async (node: Node) => [
    await node.ask('read', 'kv/a'),
    await node.ask('read', 'kv/anew/39'),
    await node.ask('read', 'kv/later/1'),
  ]
  expect(await reads(performance)).toMatchObject([
    { data: { text: 'needle in the hay' } },
    { data: { n: 39 } },
    { code: 'CORE_NOT_FOUND' },
  ])
})

test('a restored secondary follows its primary again and has not forgotten which epoch it followed', async () => {
  const primary = await cluster()
  await primary.change('sys/replication/performance/primary/enable')
  const secondary = keep(await startNode())
  await secondary.init()
  await link(primary, secondary, 'performance', 'eu')
  await inSync(primary, secondary, 'performance')
  secondary.token = await generate(secondary, 'root')
  const snapshot = await save(secondary)
  await primary.ask('update', 'kv/a', { text: 'later' })
  await inSync(primary, secondary, 'performance')
  expect(await restore(secondary, snapshot)).toBe('done')
  await inSync(primary, secondary, 'performance')
  expect((await secondary.ask('read', 'kv/a')).data).toEqual({ text: 'later' })
})

test('a role that has changed since is not brought back unless forced', async () => {
  const node = await cluster()
  const alone = await save(node)
  await node.change('sys/replication/performance/primary/enable')
  expect(await restore(node, alone)).toMatch(
    /^CORE_INVALID_REQUEST: the performance replication role has changed since the snapshot was taken \(disabled then, primary now\)/,
  )
  expect(await restore(node, alone, { force: true })).toBe('done')
  expect(await node.core.sealStatus()).toMatchObject({ sealed: false })
  expect((await node.status('performance')).mode).toBe('disabled')
})

test('over one storage and one lock, the standby follows a restore: with the same keys it stands by, with others it seals', async () => {
  const store = memoryStore()
  const lock = memoryLeaderLock()
  const [one, two] = [keep(await startNode({ store, lock })), keep(await startNode({ store, lock }))]
  await one.init(2, 2)
  await waitFor('the first node to lead', async () => (await one.core.health()).state === 'active')
  Object.assign(two, { token: one.token, keys: one.keys })
  await two.unseal()
  await one.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await one.ask('update', 'kv/a', { n: 1 })
  const snapshot = await save(one)
  await one.ask('update', 'kv/a', { n: 2 })
  expect(await restore(one, snapshot)).toBe('done')
  await waitFor('the standby to notice', async () => two.logged.some((line) => line.includes('under the same keys')))
  expect((await two.core.health()).state).toBe('standby')
  lock.revoke()
  await waitFor('the standby to lead', async () => (await two.core.health()).state === 'active')
  expect((await two.ask('read', 'kv/a')).data).toEqual({ n: 1 })

  const other = await cluster()
  const foreign = await save(other)
  await waitFor('the other node to stand by', async () => (await one.core.health()).state === 'standby')
  expect(await restore(two, foreign, { force: true })).toBe('done')
  await waitFor('both nodes to be sealed', async () =>
    [await one.core.sealStatus(), await two.core.sealStatus()].every(({ sealed }) => sealed === true),
  )
  expect(one.logged.join('\n')).toContain('encryption keys have changed out from underneath us')
  await one.core.unseal({ reset: true })
  await one.unseal(other.keys)
  await waitFor('it to lead', async () => (await one.core.health()).state === 'active')
  one.token = other.token
  expect((await one.ask('read', 'kv/a')).data).toEqual({ text: 'needle in the hay' })
})
