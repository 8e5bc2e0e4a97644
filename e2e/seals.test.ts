// The static auto seal, generate-root, and the four rows of the seal matrix: which keys open or recover a secondary after its
// activation, and which no longer do.
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Cluster,
  drOperationToken,
  linkSecondary,
  promoteSecondary,
  type ReplicationKind,
  replicationStatus,
  startServerProcess,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { describe, expect, test } from 'vitest'
import { addOperator, login, scratch } from './scratch.ts'

const files = scratch()
const INVALID_SHARES = /key shares given are not valid|unseal failed, invalid key/

type SealKind = 'shamir' | 'static'

/** A static seal with a key of its own. */
const staticSeal = () => ({ seal: { static: { current_key_id: 'one', current_key: randomBytes(32).toString('hex') } } })

function start(name: string, seal: SealKind, shares: number, threshold: number): Promise<Cluster> {
  return files.cluster(name, { shares, threshold, config: seal === 'static' ? staticSeal() : {} })
}

/** sys/generate-root from start to decoded token; rejects with the server's error for wrong shares. */
async function generateRoot(cluster: Cluster, keys: readonly string[]): Promise<string> {
  const anonymous = { token: '' }
  await cluster.client.delete('sys/generate-root/attempt', anonymous)
  const started = (await cluster.client.write('sys/generate-root/attempt', {}, anonymous)).body
  let last = started
  for (const key of keys.slice(0, started.required)) {
    last = (await cluster.client.write('sys/generate-root/update', { key, nonce: started.nonce }, anonymous)).body
  }
  expect(last).toMatchObject({ complete: true, progress: started.required })
  expect(last.encoded_root_token).toBe(last.encoded_token)
  const otp = Buffer.from(started.otp)
  return Buffer.from(Buffer.from(last.encoded_root_token, 'base64').map((byte, index) => byte ^ otp[index]!)).toString()
}

async function isRoot(cluster: Cluster, token: string): Promise<void> {
  const { body } = await cluster.client.read('auth/token/lookup-self', { token })
  expect(body.data.policies).toEqual(['root'])
}

/** Process ended and started again, and left as it comes up. */
async function restartSealed(cluster: Cluster): Promise<void> {
  await cluster.stop()
  cluster.process = await startServerProcess(['server', `-config=${join(cluster.directory, 'config.json')}`])
}

describe('sys/generate-root on Shamir', () => {
  test('attempt, update, cancel, and every refusal', async () => {
    const cluster = await start('generate', 'shamir', 3, 2)
    const { client, keys } = cluster
    const call = (method: string, path: string, body?: object) =>
      client.call(method, `sys/generate-root/${path}`, body, { token: '' })
    expect((await call('GET', 'attempt')).body).toEqual({
      nonce: '',
      started: false,
      progress: 0,
      required: 2,
      complete: false,
      encoded_token: '',
      encoded_root_token: '',
      pgp_fingerprint: '',
      otp: '',
      otp_length: 28,
    })
    expect((await call('PUT', 'update', { key: keys[0], nonce: 'x' })).body.errors).toEqual([
      'no root generation in progress',
    ])
    expect((await call('PUT', 'attempt', { otp: 'short' })).body.errors).toEqual([
      'otp string is wrong length; expected 28',
    ])
    expect((await call('PUT', 'attempt', { pgp_key: 'mQENB' })).body.errors[0]).toContain('PGP')

    const otp = 'abcdefghijklmnopqrstuvwxyz01'
    const own = (await call('PUT', 'attempt', { otp })).body
    expect(own).toMatchObject({ started: true, otp: '' })
    expect((await call('PUT', 'attempt')).body.errors).toEqual(['root generation already in progress'])
    expect((await call('PUT', 'update', { nonce: own.nonce })).body.errors).toEqual([
      "'key' must be specified in request body as JSON",
    ])
    expect((await call('PUT', 'update', { key: keys[0], nonce: 'other' })).body.errors[0]).toContain('incorrect nonce')
    expect((await call('PUT', 'update', { key: keys[0], nonce: own.nonce })).body.progress).toBe(1)
    expect((await call('PUT', 'update', { key: keys[0], nonce: own.nonce })).body.errors).toEqual([
      'given key has already been provided during this generation operation',
    ])
    const done = (await call('PUT', 'update', { key: keys[2], nonce: own.nonce })).body
    expect(done).toMatchObject({ complete: true, progress: 2 })
    const code = Buffer.from(otp)
    const token = Buffer.from(done.encoded_root_token, 'base64').map((byte, index) => byte ^ code[index]!)
    await isRoot(cluster, Buffer.from(token).toString())
    expect((await call('GET', 'attempt')).body.started).toBe(false)

    await call('PUT', 'attempt')
    expect((await call('DELETE', 'attempt')).status).toBe(204)
    expect((await call('GET', 'attempt')).body.started).toBe(false)
    const wrong = [randomBytes(33), randomBytes(33)].map((share) => share.toString('hex'))
    await expect(generateRoot(cluster, wrong)).rejects.toThrow(INVALID_SHARES)
    await isRoot(cluster, await generateRoot(cluster, [Buffer.from(keys[1]!, 'hex').toString('base64'), keys[0]!]))
    expect((await client.read('sys/health')).status).toBe(200)
  })
})

describe('the static auto seal', () => {
  test('init gives recovery keys, restarts unseal by themselves, recovery keys make root tokens', async () => {
    const seal = staticSeal()
    const cluster = await files.cluster('static', { bare: true, config: seal })
    const before = (await cluster.client.read('sys/seal-status')).body
    expect(before).toMatchObject({ type: 'static', initialized: false, sealed: true, recovery_seal: true })
    const wrong = await cluster.client.call('PUT', 'sys/init', { secret_shares: 5, secret_threshold: 3 })
    expect(wrong.status).toBe(400)
    expect(wrong.body.errors[0]).toContain('not applicable to seal type')
    const made = (await cluster.client.write('sys/init', { recovery_shares: 3, recovery_threshold: 2 })).body
    expect(made.keys).toEqual([])
    expect(made.recovery_keys).toHaveLength(3)
    cluster.client.token = made.root_token
    cluster.keys = made.recovery_keys
    expect((await cluster.client.read('sys/seal-status')).body).toMatchObject({
      type: 'static',
      sealed: false,
      t: 2,
      n: 3,
    })
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    await cluster.client.write('kv/a', { kept: 'yes' })

    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await cluster.stop(signal)
      await cluster.start()
      expect((await cluster.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
    }
    await isRoot(cluster, await generateRoot(cluster, cluster.keys))
    const strangers = [randomBytes(33), randomBytes(33)].map((share) => share.toString('hex'))
    await expect(generateRoot(cluster, strangers)).rejects.toThrow(INVALID_SHARES)

    await cluster.client.write('sys/seal')
    const share = await cluster.client.call('PUT', 'sys/unseal', { key: cluster.keys[0] })
    expect(share.status).toBe(400)
    expect(share.body.errors[0]).toContain('sealed by static')
    await cluster.stop()
    await cluster.start()
    expect((await cluster.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
  })

  test('a new key opens with the old one beside it', async () => {
    const [first, second] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')]
    const cluster = await files.cluster('rotated', {
      config: { seal: { static: { current_key_id: 'first', current_key: first } } },
    })
    const file = join(cluster.directory, 'config.json')
    const reseal = async (seal: object) => {
      const config = JSON.parse(await readFile(file, 'utf8'))
      await writeFile(file, JSON.stringify({ ...config, seal: { static: seal } }))
    }
    await cluster.stop()
    await reseal({ current_key_id: 'second', current_key: second, previous_key_id: 'first', previous_key: first })
    await cluster.start()
    expect((await cluster.client.read('auth/token/lookup-self')).status).toBe(200)
  })
})

/** Rows of the matrix: primary seal, secondary seal before. */
const matrix: [primary: SealKind, secondary: SealKind, kind: ReplicationKind][] = [
  ['shamir', 'shamir', 'performance'],
  ['shamir', 'static', 'performance'],
  ['static', 'static', 'performance'],
  ['static', 'shamir', 'performance'],
  ['static', 'shamir', 'dr'],
  ['shamir', 'static', 'dr'],
  ['shamir', 'shamir', 'dr'],
  ['static', 'static', 'dr'],
]

describe.each(matrix)('primary %s, secondary %s, %s replication', (primarySeal, secondarySeal, kind) => {
  test("the secondary's own keys are dead, the primary's take their place", async () => {
    const name = `${primarySeal}-${secondarySeal}-${kind}`
    const primary = await start(`p-${name}`, primarySeal, 3, 2)
    const secondary = await start(`s-${name}`, secondarySeal, 5, 3)
    const own = [...secondary.keys]
    await addOperator(primary)
    await primary.client.write('sys/mounts/kv', { type: 'kv' })
    await primary.client.write('kv/a', { from: 'primary' })
    await primary.client.write(`sys/replication/${kind}/primary/enable`)
    await waitFor('the primary role', async () => (await replicationStatus(primary, kind))?.mode === 'primary')
    await linkSecondary(primary, secondary, kind, 'second')
    await waitUntilInSync(primary, secondary, kind)

    // Seal type is the secondary's own, counts are the primary's.
    const status = (await secondary.client.read('sys/seal-status')).body
    expect(status).toMatchObject({ type: secondarySeal, t: 2, n: 3, sealed: false })
    expect(status.recovery_seal).toBe(secondarySeal === 'static')

    // The key that operators hold shares of.
    if (kind === 'performance') {
      await expect(generateRoot(secondary, own)).rejects.toThrow(INVALID_SHARES)
      await isRoot(secondary, await generateRoot(secondary, primary.keys))
    } else {
      expect(await drOperationToken(secondary)).toMatch(/^hvr\./)
      secondary.keys = own
      await expect(drOperationToken(secondary)).rejects.toThrow(INVALID_SHARES)
      await secondary.client.delete('sys/replication/dr/secondary/generate-operation-token/attempt', { token: '' })
      secondary.keys = primary.keys
    }

    // What unseals after a restart.
    if (secondarySeal === 'static') {
      await secondary.stop()
      await secondary.start()
    } else {
      await restartSealed(secondary)
      const sealed = (await secondary.client.read('sys/seal-status')).body
      expect(sealed).toMatchObject({ sealed: true, t: 2, n: 3 })
      await secondary.client.write('sys/unseal', { key: own[0] })
      const refused = await secondary.client.call('PUT', 'sys/unseal', { key: own[1] })
      expect(refused.status).toBe(400)
      expect(refused.body.errors[0]).toMatch(/unseal failed, invalid key/)
      expect((await secondary.client.read('sys/seal-status')).body).toMatchObject({ sealed: true, progress: 0 })
      await secondary.unseal()
    }
    await waitUntilInSync(primary, secondary, kind)
    if (kind === 'performance') {
      await login(secondary)
      expect((await secondary.client.read('kv/a')).body.data).toEqual({ from: 'primary' })
    } else expect((await secondary.client.call('GET', 'sys/health')).status).toBe(472)

    // The primary keeps what it had.
    await isRoot(primary, await generateRoot(primary, primary.keys))
    if (kind !== 'dr') return

    // Failover: the seal that was here, the keys that were there.
    await primary.stop('SIGKILL')
    await promoteSecondary(secondary, 'dr', { force: true })
    const root = await generateRoot(secondary, primary.keys)
    await expect(generateRoot(secondary, own)).rejects.toThrow(INVALID_SHARES)
    await secondary.stop()
    await secondary.start()
    secondary.client.token = root
    expect((await secondary.client.read('kv/a')).body.data).toEqual({ from: 'primary' })
    await secondary.client.write('kv/b', { by: 'the new primary' })
    expect((await secondary.client.read('sys/seal-status')).body).toMatchObject({ type: secondarySeal, t: 2, n: 3 })
  })
})
