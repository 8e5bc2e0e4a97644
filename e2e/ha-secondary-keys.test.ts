// A cluster of two nodes, unsealed by shares, becomes a secondary: its other node notices that the keys are others now, seals itself, says why, and is unsealed with
// the primary's. From then on it follows every change of role without being started again.
import {
  type Cluster,
  enablePrimary,
  linkSecondary,
  promoteSecondary,
  type ReplicationKind,
  type StorageServer,
  startStorageServer,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addOperator, login, scratch } from './scratch.ts'

const KEYS_CHANGED = 'encryption keys have changed out from underneath us'

const files = scratch()
let storage: StorageServer
beforeAll(async () => {
  storage = await startStorageServer('postgresql')
})
afterAll(() => storage?.stop())

async function twoNodes(name: string): Promise<[Cluster, Cluster]> {
  const config = (node: string) => ({ cluster_name: name, storage: storage.block({ cluster: name, node }) })
  const first = await files.cluster(`${name}-1`, { config: config(`${name}-1`), shares: 1, threshold: 1 })
  const second = await files.cluster(`${name}-2`, { config: config(`${name}-2`), bare: true })
  await unsealBy(second, first.keys)
  return [first, second]
}

async function unsealBy(node: Cluster, keys: readonly string[]): Promise<void> {
  for (const key of keys) await node.client.write('sys/unseal', { key })
  node.keys = [...keys]
}

const health = async (node: Cluster) => {
  const { status, body } = await node.client.call('GET', 'sys/health')
  return { status, standby: body.standby, dr: body.replication_dr_mode, performance: body.replication_performance_mode }
}

const status = async (node: Cluster, kind: ReplicationKind) =>
  (await node.client.call('GET', `sys/replication/${kind}/status`)).body.data

async function leads(node: Cluster): Promise<void> {
  await waitFor(`${node.name} to lead`, async () => (await node.client.read('sys/leader')).body.is_self === true)
}

test.each([
  ['performance', 429],
  ['dr', 472],
] as const)('%s', async (kind, standbyStatus) => {
  const primary = await files.cluster(`primary-${kind}`, { shares: 3, threshold: 2 })
  await addOperator(primary)
  await primary.client.write('sys/mounts/kv', { type: 'kv' })
  await primary.client.write('kv/a', { n: 1 })
  await enablePrimary(primary, kind)
  const [one, two] = await twoNodes(`secondary-${kind}`)
  const ownKeys = one.keys
  expect(await health(two)).toMatchObject({ status: 429 })

  await linkSecondary(primary, one, kind, 'secondary')
  await waitUntilInSync(primary, one, kind)
  await waitFor('the other node to seal itself', async () => (await health(two)).status === 503)
  expect(two.process.output()).toContain(KEYS_CHANGED)
  expect((await two.client.read('sys/seal-status')).body).toMatchObject({ sealed: true, t: 2, n: 3 })

  // Its own share opens nothing any more; it is not even one of as many as are needed now.
  const old = await two.client.call('PUT', 'sys/unseal', { key: ownKeys[0] })
  expect((old.body.sealed ?? true) as boolean).toBe(true)
  await two.client.write('sys/unseal', { reset: true })
  await unsealBy(two, primary.keys.slice(0, 2))
  expect(await health(two)).toEqual({
    ...{ status: standbyStatus, standby: true },
    ...(kind === 'dr' ? { dr: 'secondary', performance: 'disabled' } : { dr: 'disabled', performance: 'secondary' }),
  })

  // It leads when the other one is killed, with the primary's address, keys and the place in its log.
  await primary.client.write('kv/b', { n: 2 })
  await waitUntilInSync(primary, one, kind)
  await one.stop('SIGKILL')
  await primary.client.write('kv/c', { n: 3 })
  await leads(two)
  await waitUntilInSync(primary, two, kind)
  expect(await status(two, kind)).toMatchObject({ resumed_links: 1, merkle_diffs: 0 })
  if (kind === 'performance') {
    await login(two)
    expect((await two.client.read('kv/c')).body.data).toEqual({ n: 3 })
  }

  // A promotion at one node is one of the cluster: the other follows as it is.
  await one.startSealed()
  await unsealBy(one, primary.keys.slice(0, 2))
  expect(await health(one)).toMatchObject({ status: standbyStatus, standby: true })
  await primary.stop('SIGKILL')
  await promoteSecondary(two, kind, { force: true })
  expect(await health(one)).toMatchObject({ status: 429, [kind]: 'primary' })
  await two.stop('SIGKILL')
  await leads(one)
  expect(await health(one)).toMatchObject({ status: 200, standby: false, [kind]: 'primary' })
  one.client.token = kind === 'dr' ? primary.client.token : two.client.token
  expect((await one.client.read('kv/c')).body.data).toEqual({ n: 3 })
})
