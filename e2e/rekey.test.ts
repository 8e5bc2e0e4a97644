// Other shares, and another seal, for real servers: without a loss whenever the process is killed, and for the secondaries too.
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Cluster,
  enablePrimary,
  linkSecondary,
  type StorageServer,
  startStorageServer,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { afterAll, describe, expect, test } from 'vitest'
import { generateRoot, INVALID_SHARES, isRoot } from './operator-keys.ts'
import { scratch } from './scratch.ts'

const files = scratch()
const KILLS = Number(process.env.LOCKSTEP_REKEY_KILLS ?? 4)

type Target = 'rekey' | 'rekey-recovery-key'
/** Without a token, as key holders call. */
const call = async (cluster: Cluster, method: string, path: string, body?: object) =>
  (await cluster.client.call(method, `sys/${path}`, body, { token: '' })).body

/** Up to the verification, by the shares the cluster has; the new ones. */
async function agree(cluster: Cluster, target: Target, params: object = {}) {
  const wanted = { secret_shares: 2, secret_threshold: 2, require_verification: true, ...params }
  const { nonce, required } = await call(cluster, 'PUT', `${target}/init`, wanted)
  let last: { keys: string[]; verification_nonce: string; complete: boolean } | undefined
  for (const key of cluster.keys.slice(0, required))
    last = await call(cluster, 'PUT', `${target}/update`, { key, nonce })
  expect(last).toMatchObject({ complete: true })
  return last!
}

async function rekeyed(cluster: Cluster, target: Target, params: object = {}): Promise<string[]> {
  const { keys, verification_nonce: nonce } = await agree(cluster, target, params)
  const { t } = await call(cluster, 'GET', `${target}/verify`)
  let last: unknown
  for (const key of keys.slice(0, t)) last = await call(cluster, 'PUT', `${target}/verify`, { key, nonce })
  expect(last).toMatchObject({ complete: true })
  return keys
}

async function reseal(cluster: Cluster, seal: object): Promise<void> {
  const file = join(cluster.directory, 'config.json')
  await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), seal }))
}
const status = (cluster: Cluster) => call(cluster, 'GET', 'seal-status')
const isActive = (cluster: Cluster) =>
  waitFor(`${cluster.name} to serve`, async () => (await cluster.client.call('GET', 'sys/health')).status !== 503)

describe('rekey', () => {
  test('killed at any moment of it, the cluster is opened by the old shares or by the new ones', async () => {
    const cluster = await files.cluster('killed')
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    await cluster.client.write('kv/a', { kept: 'yes' })
    for (let round = 0; round < KILLS; round++) {
      const { keys, verification_nonce: nonce } = await agree(cluster, 'rekey', {
        secret_shares: 1,
        secret_threshold: 1,
      })
      const verified = call(cluster, 'PUT', 'rekey/verify', { key: keys[0], nonce }).catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, (round * 5) / KILLS))
      await cluster.stop('SIGKILL')
      const answer = await verified
      await cluster.startSealed()
      const opened: string[] = []
      for (const key of [cluster.keys[0]!, keys[0]!]) {
        await call(cluster, 'PUT', 'unseal', { key })
        if (opened.length === 0 && !(await status(cluster)).sealed) opened.push(key)
      }
      expect(opened).toHaveLength(1)
      if (answer?.complete) expect(opened).toEqual(keys)
      cluster.keys = opened
      await isActive(cluster)
      expect((await cluster.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
    }
  })

  test('of a primary: its secondaries are opened by the new shares, those with an auto seal recovered by them', async () => {
    const seal = { static: { current_key_id: 'a', current_key: randomBytes(32).toString('hex') } }
    const [primary, shamir, auto] = await Promise.all([
      files.cluster('primary', { shares: 3, threshold: 2 }),
      files.cluster('shamir'),
      files.cluster('auto', { config: { seal } }),
    ])
    await enablePrimary(primary, 'performance')
    for (const secondary of [shamir, auto]) await linkSecondary(primary, secondary, 'performance', secondary.name)
    for (const secondary of [shamir, auto]) await waitUntilInSync(primary, secondary, 'performance')
    const refused = await shamir.client.call('GET', 'sys/rekey/init', undefined, { token: '' })
    expect(refused).toMatchObject({
      status: 400,
      body: { errors: ['rekeying can only be performed on the primary cluster when replication is activated'] },
    })
    const old = primary.keys
    const keys = await rekeyed(primary, 'rekey', { secret_shares: 4, secret_threshold: 3 })
    for (const cluster of [primary, shamir, auto]) {
      await waitFor(`the shares of ${cluster.name}`, async () => (await status(cluster)).n === 4)
      await expect(generateRoot(cluster, [...old])).rejects.toThrow(INVALID_SHARES)
      cluster.keys = keys
      await cluster.stop()
      await cluster.start()
      await isRoot(cluster, await generateRoot(cluster, keys.slice(1)))
    }
    for (const secondary of [shamir, auto]) await waitUntilInSync(primary, secondary, 'performance')
  })
})

describe('seal migration', () => {
  test('a primary with a secondary, from Shamir to auto, to another auto and back to Shamir', async () => {
    const [primary, secondary] = await Promise.all([
      files.cluster('migrated', { shares: 3, threshold: 2 }),
      files.cluster('follower'),
    ])
    await primary.client.write('sys/mounts/kv', { type: 'kv' })
    await enablePrimary(primary, 'dr')
    await linkSecondary(primary, secondary, 'dr', secondary.name)
    await waitUntilInSync(primary, secondary, 'dr')
    const stanza = (id: string) => ({ current_key_id: id, current_key: randomBytes(32).toString('hex') })
    const [one, two] = [stanza('one'), stanza('two')]
    const steps = [
      { seal: { static: one }, after: { type: 'static', recovery_seal: true } },
      {
        seal: [{ static: two }, { static: { ...one, disabled: 'true' } }],
        after: { type: 'static', recovery_seal: true },
      },
      { seal: { static: { ...two, disabled: 'true' } }, after: { type: 'shamir', recovery_seal: false } },
    ]
    for (const [step, { seal, after }] of steps.entries()) {
      await primary.stop(step === 1 ? 'SIGKILL' : 'SIGTERM')
      await reseal(primary, seal)
      await primary.startSealed()
      expect(await status(primary)).toMatchObject({ sealed: true, migration: true, t: 2, n: 3, type: after.type })
      expect((await call(primary, 'PUT', 'unseal', { key: primary.keys[0] })).errors).toEqual([
        'migrate option not provided and seal migration is pending',
      ])
      await call(primary, 'PUT', 'unseal', { key: primary.keys[0], migrate: true })
      const opened = await call(primary, 'PUT', 'unseal', { key: primary.keys[2], migrate: true })
      expect(opened).toMatchObject({ sealed: false, migration: false, t: 2, n: 3, ...after })
      await isActive(primary)
      await primary.client.write(`kv/${step}`, { kept: 'yes' })
      await isRoot(primary, await generateRoot(primary, primary.keys))
      await waitUntilInSync(primary, secondary, 'dr')

      // The stanza of the former seal may stay or go.
      await primary.stop()
      await primary.start()
      expect(await status(primary)).toMatchObject({ sealed: false, migration: false, ...after })
    }
    await secondary.stop()
    await secondary.start()
    await waitUntilInSync(primary, secondary, 'dr')
  })
})

describe('two nodes over PostgreSQL', () => {
  let storage: StorageServer | undefined
  afterAll(() => storage?.stop())

  test('rekeyed through the standby, then migrated node by node, with a leader killed in between', async () => {
    storage = await startStorageServer('postgresql')
    const config = (node: string) => ({ cluster_name: 'pair', storage: storage!.block({ cluster: 'pair', node }) })
    const one = await files.cluster('one', { config: config('one'), shares: 3, threshold: 2 })
    await one.client.write('sys/mounts/kv', { type: 'kv' })
    await one.client.write('kv/a', { kept: 'yes' })
    const two = await files.cluster('two', { config: config('two'), bare: true })
    Object.assign(two, { keys: one.keys })
    two.client.token = one.client.token
    const code = async (node: Cluster) => (await node.client.call('GET', 'sys/health')).status
    const is = (node: Cluster, wanted: number) =>
      waitFor(`${node.name} to say ${wanted}`, async () => (await code(node)) === wanted)
    const unseal = async (node: Cluster, keys: string[], migrate = false) => {
      for (const key of keys) await node.client.write('sys/unseal', { key, migrate })
    }
    await unseal(two, one.keys.slice(0, 2))
    await is(two, 429)

    const keys = await rekeyed(two, 'rekey', { secret_shares: 2, secret_threshold: 2 })
    await one.stop('SIGKILL')
    await is(two, 200)
    expect((await two.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
    await isRoot(two, await generateRoot(two, keys))

    const seal = { static: { current_key_id: 'a', current_key: randomBytes(32).toString('hex') } }
    await reseal(one, seal)
    await one.startSealed()
    expect(await status(one)).toMatchObject({ sealed: true, migration: true, t: 2, n: 2 })
    await unseal(one, keys, true)
    await is(one, 429)
    expect(await status(two)).toMatchObject({ type: 'shamir', migration: false })
    await two.stop()
    await is(one, 200)
    expect(await status(one)).toMatchObject({ type: 'static', migration: false })
    await reseal(two, seal)
    await two.startSealed()
    await is(two, 429)
    await one.stop('SIGKILL')
    await is(two, 200)
    expect((await two.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
    await isRoot(two, await generateRoot(two, keys))
  })
})
