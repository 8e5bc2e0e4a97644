// Read your writes over real processes: what one cluster answers names a state, and no cluster of the set answers a request that names
// it from an older one. The secondaries' links go through a proxy that can stop them.
import {
  type Cluster,
  type ClusterProxy,
  clusterProxy,
  enablePrimary,
  linkSecondary,
  replicationStatus,
  type VaultReply,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addOperator, login, scratch } from './scratch.ts'

const files = scratch()
const WAIT_MS = 300
let proxy: ClusterProxy
let primary: Cluster
let near: Cluster
let far: Cluster

beforeAll(async () => {
  proxy = await clusterProxy()
  ;[primary, near, far] = await Promise.all([
    files.cluster('primary', { config: { cluster_addr: proxy.address } }),
    files.cluster('near'),
    files.cluster('far', { config: { replication: { best_effort_wal_wait_duration: `${WAIT_MS}ms` } } }),
  ])
  proxy.to(primary.clusterAddress)
  await addOperator(primary)
  await primary.client.write('sys/mounts/kv', { type: 'kv' })
  await enablePrimary(primary, 'performance')
  for (const secondary of [near, far]) {
    await linkSecondary(primary, secondary, 'performance', secondary.name)
    await waitUntilInSync(primary, secondary, 'performance')
    await login(secondary)
  }
})
afterAll(() => proxy?.close())

const indexOf = (reply: VaultReply): string => String(reply.headers['x-vault-index'])
const withIndex = (...states: string[]) => ({ headers: { 'x-vault-index': states.join(',') } })
const get = (cluster: Cluster, path: string, ...states: string[]) =>
  cluster.client.call('GET', path, undefined, states.length === 0 ? {} : withIndex(...states))

test('the state has the form that Vault clients parse', async () => {
  const reply = await primary.client.write('kv/form', { n: 1 })
  const [version, cluster, local, replicated, hmac] = Buffer.from(indexOf(reply), 'base64').toString().split(':')
  const { body: health } = await primary.client.read('sys/health')
  expect([version, cluster!.split('.')[0]]).toEqual(['v1', health.cluster_id])
  expect([Number(local), Number(replicated)]).toEqual([health.last_wal, health.last_wal])
  expect(hmac).toMatch(/^[0-9a-f]{64}$/)
})

test('written on any cluster, read on every cluster, many times and with states of several', async () => {
  const clusters = [primary, near, far]
  let seen: string[] = []
  for (let n = 0; n < 30; n++) {
    const writer = clusters[n % 3]!
    const written = await writer.client.write('kv/everywhere', { n })
    seen = [...seen.slice(-2), indexOf(written)]
    const replies = await Promise.all(clusters.map((cluster) => get(cluster, 'kv/everywhere', ...seen)))
    expect(replies.map(({ status, body }) => [status, body.data?.n])).toEqual(clusters.map(() => [200, n]))
  }
})

test('a secondary whose link stands still says so in bounded time, answers what it has, and catches up', async () => {
  const before = indexOf(await primary.client.write('kv/stalled', { n: 1 }))
  expect((await get(far, 'kv/stalled', before)).body.data).toEqual({ n: 1 })
  proxy.pause('performance')
  const after = indexOf(await primary.client.write('kv/stalled', { n: 2 }))
  expect((await get(near, 'kv/stalled', after)).status).toBe(412)
  const started = Date.now()
  const missing = await get(far, 'kv/stalled', after)
  expect([missing.status, missing.body]).toEqual([412, { errors: ['required index state not present'] }])
  expect(missing.headers).not.toHaveProperty('x-vault-index')
  expect(Date.now() - started).toBeGreaterThanOrEqual(WAIT_MS - 50)
  expect((await get(far, 'kv/stalled')).body.data).toEqual({ n: 1 })
  expect((await get(far, 'kv/stalled', before)).body.data).toEqual({ n: 1 })
  expect((await get(far, 'sys/replication/performance/status', after)).body.data.mode).toBe('secondary')
  proxy.resume('performance')
  await waitFor('the link', async () => (await replicationStatus(far, 'performance')).connection_state === 'ready')
  // As Vault's client does with 412.
  const reply = await waitFor('the state', async () => {
    const tried = await get(far, 'kv/stalled', after)
    return tried.status === 412 ? false : tried
  })
  expect([reply.status, reply.body.data]).toEqual([200, { n: 2 }])
})

test('what is not a state of this set is refused', async () => {
  const stranger = await files.cluster('stranger')
  const theirs = indexOf(await stranger.client.write('sys/mounts/kv', { type: 'kv' }))
  for (const [state, text] of [
    ['%%%', 'X-Vault-Index: state 1 is not base64'],
    [theirs, 'X-Vault-Index: state 1 was not made by this cluster or its replication set (HMAC mismatch)'],
  ]) {
    const reply = await get(far, 'kv/everywhere', state!)
    expect([reply.status, reply.body.errors]).toEqual([400, [text]])
  }
  const forward = await primary.client.call('GET', 'kv/everywhere', undefined, {
    headers: { 'x-vault-forward': 'active-node' },
  })
  expect([forward.status, forward.body.errors]).toEqual([
    400,
    ['forwarding via header X-Vault-Forward disabled in configuration'],
  ])
})

test('a state outlives the primary: after a promotion it holds nobody up', async () => {
  const state = indexOf(await primary.client.write('kv/last', { n: 1 }))
  await waitUntilInSync(primary, near, 'performance')
  await primary.stop('SIGKILL')
  await near.client.write('sys/replication/performance/secondary/promote', { force: true })
  await waitFor('the promotion', async () => (await replicationStatus(near, 'performance'))?.mode === 'primary')
  const reply = await get(near, 'kv/last', state)
  expect([reply.status, reply.body.data]).toEqual([200, { n: 1 }])
  const written = indexOf(await near.client.write('kv/next', { n: 2 }))
  expect((await get(near, 'kv/next', state, written)).body.data).toEqual({ n: 2 })
  // The stale one, back again, does not have it.
  await primary.start()
  expect((await get(primary, 'kv/next', written)).status).toBe(412)
  expect((await get(primary, 'kv/last', state)).status).toBe(200)
})
