// The transit seal against real servers.
import { autoSealCompliance } from '@lockstep/seal/compliance'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type TransitSealOptions, transitSeal } from '../src/index.ts'
import { type Provider, providers } from './providers.ts'

const plaintext = new TextEncoder().encode('root key of a test, 32 bytes lon')

describe.each(providers)('against %s', (_, start) => {
  let provider: Provider
  let count = 0
  beforeAll(async () => {
    provider = await start()
  })
  afterAll(() => provider.close())

  /** A seal with a key of its own, and what is logged. */
  async function seal(options: Partial<TransitSealOptions> & { type?: string } = {}) {
    const { type, ...rest } = options
    const keyName = rest.keyName ?? `key-${count++}`
    if (rest.keyName === undefined) await provider.client.write(`transit/keys/${keyName}`, type ? { type } : {})
    const logged: string[] = []
    const note = (message: string, fields?: object) => void logged.push(`${message} ${JSON.stringify(fields)}`)
    const made = transitSeal({
      ...{ address: provider.address, token: provider.client.token, keyName, disableRenewal: true },
      log: { info: note, warn: note },
      ...rest,
    })
    return { seal: made, keyName, logged }
  }

  autoSealCompliance({ test, factory: async () => (await seal()).seal })
  describe('with ChaCha20-Poly1305', () => {
    autoSealCompliance({ test, factory: async () => (await seal({ type: 'chacha20-poly1305' })).seal })
  })

  test('a rotated key: old envelopes open, new ones name the new version', async () => {
    const { seal: sealed, keyName, logged } = await seal()
    expect(sealed.keyId).toBe(keyName)
    const before = await sealed.encrypt(plaintext)
    expect(sealed.keyId).toBe(`${keyName}:v1`)
    await provider.client.write(`transit/keys/${keyName}/rotate`)
    expect(await sealed.decrypt(before)).toEqual(plaintext)
    const after = await sealed.encrypt(plaintext)
    expect(sealed.keyId).toBe(`${keyName}:v2`)
    expect([before, after].map(sealed.keyIdOf)).toEqual([`${keyName}:v1`, `${keyName}:v2`])
    expect(logged.join()).toContain('was rotated')
    await provider.client.write(`transit/keys/${keyName}/config`, { min_decryption_version: 2 })
    expect(await sealed.decrypt(after)).toEqual(plaintext)
    await expect(sealed.decrypt(before)).rejects.toMatchObject({ code: 'SEAL_DECRYPTION_FAILED' })
    sealed.close()
  })

  test('a ciphertext that the key made for somebody else is none of its envelopes', async () => {
    const { seal: sealed, keyName } = await seal()
    const envelope = await sealed.encrypt(plaintext)
    const { body } = await provider.client.write(`transit/encrypt/${keyName}`, { plaintext: 'b3RoZXI=' })
    const foreign = Buffer.from(body.data.ciphertext.split(':')[2], 'base64')
    const disguised = Buffer.concat([envelope.subarray(0, 6), foreign])
    await expect(sealed.decrypt(disguised)).rejects.toMatchObject({ code: 'SEAL_DECRYPTION_FAILED' })
    sealed.close()
  })

  test('a key that takes no associated data is used without, and says so', async () => {
    const { seal: sealed, logged } = await seal({ type: 'rsa-2048' })
    const envelope = await sealed.encrypt(plaintext)
    expect(envelope[1]).toBe(0)
    expect(await sealed.decrypt(envelope)).toEqual(plaintext)
    expect(logged).toHaveLength(1)
    expect(logged[0]).toContain('takes no associated data')
    sealed.close()
  })

  test('a key that is not there, a mount that is not there, a token that is not valid', async () => {
    const policy = 'path "transit/*" { capabilities = ["update"] } path "elsewhere/*" { capabilities = ["update"] }'
    await provider.client.write('sys/policies/acl/seal', { policy })
    const { body } = await provider.client.write('auth/token/create', { policies: ['seal'] })
    const token: string = body.auth.client_token
    const missing = (await seal({ token, keyName: 'missing' })).seal
    const envelope = await (await seal()).seal.encrypt(plaintext)
    // Without the right to create one.
    await expect(missing.encrypt(plaintext)).rejects.toMatchObject({ code: expect.stringMatching(/^SEAL_UN/) })
    await expect(missing.decrypt(envelope)).rejects.toMatchObject({ code: 'SEAL_UNKNOWN_KEY' })
    const elsewhere = (await seal({ token: provider.client.token, mountPath: 'elsewhere' })).seal
    await expect(elsewhere.encrypt(plaintext)).rejects.toMatchObject({
      code: 'SEAL_UNAVAILABLE',
      message: expect.stringContaining('no transit engine at that mount path'),
    })
    const stranger = (await seal({ token: 'hvs.notvalid' })).seal
    const refused = await stranger.encrypt(plaintext).catch((error: Error) => error)
    expect(refused).toMatchObject({ code: 'SEAL_UNAVAILABLE', message: expect.stringContaining('permission denied') })
    expect(String((refused as Error).stack)).not.toContain('hvs.notvalid')
  })

  test('a token of limited life is renewed', async () => {
    const policy = 'path "transit/*" { capabilities = ["update"] }'
    await provider.client.write('sys/policies/acl/seal', { policy })
    const { body } = await provider.client.write('auth/token/create', { policies: ['seal'], period: '1h' })
    const { client_token: token, accessor } = body.auth
    const lookup = async () => (await provider.client.write('auth/token/lookup-accessor', { accessor })).body.data
    expect((await lookup()).last_renewal_time ?? 0).toBe(0)
    const { seal: sealed, logged } = await seal({ token, disableRenewal: false })
    await expect.poll(async () => (await lookup()).last_renewal_time ?? 0).toBeGreaterThan(0)
    expect(await sealed.decrypt(await sealed.encrypt(plaintext))).toEqual(plaintext)
    sealed.close()
    expect(logged).toEqual([])
  })
})
