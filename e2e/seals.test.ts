// generate-root, and each auto seal through restarts, loss of its provider and rotation. What replication does to seals: seal-matrix.test.ts.
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Cluster, waitFor } from '@lockstep/dev-env'
import { afterAll, describe, expect, test } from 'vitest'
import { hasOpenBao, openBaoProvider } from '../packages/seal-transit/test/openbao.ts'
import { generateRoot, INVALID_SHARES, isRoot, restartAlone } from './operator-keys.ts'
import { scratch } from './scratch.ts'
import { sealProviders, transitStanza } from './seal-providers.ts'

const files = scratch()
const providers = sealProviders(files)

/** A static seal with a key of its own. */
const staticSeal = () => ({ seal: { static: { current_key_id: 'one', current_key: randomBytes(32).toString('hex') } } })

/** Another stanza from the next start on. */
async function reseal(cluster: Cluster, seal: object): Promise<void> {
  const file = join(cluster.directory, 'config.json')
  await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), seal }))
}
const backendStatus = async (cluster: Cluster) =>
  (await cluster.client.read('sys/seal-backend-status', { token: '' })).body
const serverLog = (cluster: Cluster) => readFile(join(cluster.directory, 'server.log'), 'utf8')

describe('sys/generate-root on Shamir', () => {
  test('attempt, update, cancel, and every refusal', async () => {
    const cluster = await files.cluster('generate', { shares: 3, threshold: 2 })
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
    await cluster.stop()
    const current = { current_key_id: 'second', current_key: second }
    await reseal(cluster, { static: { ...current, previous_key_id: 'first', previous_key: first } })
    await cluster.start()
    expect((await cluster.client.read('auth/token/lookup-self')).status).toBe(200)
    // Sealed anew by now or in a moment; then the old one can go.
    await waitFor('the keys to be sealed anew', async () => (await backendStatus(cluster)).fully_wrapped === true)
    await cluster.stop()
    await reseal(cluster, { static: current })
    await cluster.start()
    await isRoot(cluster, await generateRoot(cluster, cluster.keys))
  })
})

describe('the transit auto seal', () => {
  test('the provider goes away, comes back, and rotates the key', async () => {
    const provider = await providers.transit()
    const stanza = await transitStanza(provider, 'away')
    const token = String(stanza.token)
    const cluster = await files.cluster('away', { shares: 3, threshold: 2, config: { seal: { transit: stanza } } })
    const { client } = cluster
    expect((await client.read('sys/seal-status')).body).toMatchObject({
      ...{ type: 'transit', recovery_seal: true, t: 2, n: 3, sealed: false },
    })
    await client.write('sys/mounts/kv', { type: 'kv' })
    await client.write('kv/a', { kept: 'yes' })
    const backend = { name: 'transit', configured: true, disabled: false, healthy: true }
    expect(await backendStatus(cluster)).toEqual({ healthy: true, fully_wrapped: true, backends: [backend] })

    // A running node goes on; what needs the seal is refused.
    await provider.stop('SIGKILL')
    await client.write('kv/b', { written: 'without the provider' })
    await client.write('sys/rotate')
    await expect(generateRoot(cluster, cluster.keys)).rejects.toThrow(/503.*auto seal transit.*cannot be reached/)
    await client.delete('sys/generate-root/attempt', { token: '' })
    expect(await backendStatus(cluster)).toMatchObject({ healthy: false, unhealthy_since: expect.stringMatching(/Z$/) })
    const metrics = (await client.read('sys/metrics')).body
    const counter = metrics.Counters.find(({ Name }: { Name: string }) => Name === 'vault.seal.decrypt.error')
    expect(counter.Labels).toEqual({ seal: 'transit' })
    expect(counter.Sum ?? counter.Count).toBeGreaterThan(0)

    // One that starts stays sealed, says why, and unseals when the provider is back.
    await restartAlone(cluster)
    expect((await client.call('GET', 'sys/health')).status).toBe(503)
    expect((await client.read('sys/seal-status')).body).toMatchObject({ sealed: true, initialized: true })
    expect(cluster.process.output()).toMatch(
      /auto unseal failed.*the transit server 127\.0\.0\.1:\d+ cannot be reached/,
    )
    await waitFor('another try', () => cluster.process.output().includes('auto unseal failed, trying again'))
    await provider.start()
    await waitFor('the node to unseal', async () => (await client.call('GET', 'sys/health')).status === 200)
    expect((await client.read('kv/b')).body.data).toEqual({ written: 'without the provider' })

    // A new version of the key: everything is sealed anew, and the old version may go.
    await provider.client.write('transit/keys/away/rotate')
    await cluster.stop()
    await cluster.start()
    await waitFor('the keys to be sealed anew', () => cluster.process.output().includes('sealed anew'))
    expect(await backendStatus(cluster)).toMatchObject({ fully_wrapped: true })
    await provider.client.write('transit/keys/away/config', { min_decryption_version: 2, min_encryption_version: 2 })
    await cluster.stop('SIGKILL')
    await cluster.start()
    await isRoot(cluster, await generateRoot(cluster, cluster.keys))
    expect(await serverLog(cluster)).not.toContain(token)
  })

  test('a token that ends is replaced in its file, with the server running', async () => {
    const provider = await providers.transit()
    const stanza = await transitStanza(provider, 'token-file')
    const file = await files.path('transit-token')
    await writeFile(file, `${stanza.token}\n`, { mode: 0o600 })
    const config = { seal: { transit: { ...stanza, token: `file://${file}` } } }
    const cluster = await files.cluster('token-file', { config })
    await provider.client.write('auth/token/revoke', { token: stanza.token })
    await expect(generateRoot(cluster, cluster.keys)).rejects.toThrow(/503.*auto seal transit.*permission denied/)
    await restartAlone(cluster)
    expect((await cluster.client.call('GET', 'sys/health')).status).toBe(503)
    const { token } = await transitStanza(provider, 'token-file')
    await writeFile(file, String(token))
    await waitFor('the node to unseal', async () => (await cluster.client.call('GET', 'sys/health')).status === 200)
    await isRoot(cluster, await generateRoot(cluster, cluster.keys))
  })

  // Beside the repository only; what is claimed is shown with Lockstep as the provider above.
  if (hasOpenBao) {
    describe('with OpenBao', () => {
      const openBao = openBaoProvider()
      afterAll(async () => (await openBao).close())

      test('init, restart, generate-root', async () => {
        const provider = await openBao
        const { client } = provider
        await client.write('transit/keys/openbao')
        const seal = { transit: { address: provider.address, key_name: 'openbao', mount_path: 'transit' } }
        const cluster = await files.cluster('openbao', { config: { seal }, env: { VAULT_TOKEN: client.token } })
        await client.write('transit/keys/openbao/rotate')
        await cluster.stop()
        await cluster.start()
        await waitFor('the keys to be sealed anew', () => cluster.process.output().includes('sealed anew'))
        await isRoot(cluster, await generateRoot(cluster, cluster.keys))
      })
    })
  }
})

describe('the PKCS#11 auto seal', () => {
  test('a wrong PIN leaves the node sealed and is not tried again; another key label rotates', async () => {
    const { config, env } = await providers.options('pkcs11', 'hsm')
    const cluster = await files.cluster('hsm', { shares: 3, threshold: 2, config: config!, env: env! })
    const { pkcs11 } = (config as { seal: { pkcs11: object } }).seal
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    await cluster.client.write('kv/a', { kept: 'yes' })
    expect((await cluster.client.read('sys/seal-status')).body).toMatchObject({ type: 'pkcs11', t: 2, n: 3 })

    const right = cluster.env.VAULT_HSM_PIN!
    cluster.env.VAULT_HSM_PIN = 'wrong-pin-0000'
    await restartAlone(cluster)
    expect((await cluster.client.call('GET', 'sys/health')).status).toBe(503)
    expect(cluster.process.output()).toContain('CKR_PIN_INCORRECT')
    await waitFor('another try', () => cluster.process.output().includes('not tried again before a restart'))

    cluster.env.VAULT_HSM_PIN = right
    await reseal(cluster, { pkcs11: { ...pkcs11, key_label: 'another' } })
    await cluster.stop()
    await cluster.start()
    expect((await cluster.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
    await waitFor('the keys to be sealed anew', () => cluster.process.output().includes('sealed anew'))
    await isRoot(cluster, await generateRoot(cluster, cluster.keys))
    const log = await serverLog(cluster)
    for (const pin of [right, 'wrong-pin-0000']) expect(log).not.toContain(pin)
  })

  test('a library that is not there stops the start with one line', async () => {
    const stanza = { lib: '/nowhere/lib.so', token_label: 'x', key_label: 'x', pin: 'secret-pin' }
    const failure = files.cluster('nowhere', { config: { seal: { pkcs11: stanza } } })
    await expect(failure).rejects.toThrow(/seal "pkcs11": the PKCS#11 library \/nowhere\/lib\.so cannot be used/)
    await expect(failure).rejects.not.toThrow(/secret-pin/)
  })
})
