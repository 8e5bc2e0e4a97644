import { createHash, createPublicKey, verify as nodeVerify } from 'node:crypto'
import { type TestBed, testBed } from '@lockstep/backend/test-bed'
import { beforeAll, describe, expect, it } from 'vitest'
import { transitEngine } from './index.ts'

let bed: TestBed
const input = Buffer.from('hello').toString('base64')
const call = async (path: string, data: Record<string, unknown> = {}) => (await bed.write(path, data))?.data ?? {}
const refusal = (path: string, data: Record<string, unknown> = {}) =>
  bed.write(path, data).then(
    () => 'accepted',
    (error) => error.message,
  )
const digest = (name: string) => createHash(name).update('hello').digest('base64')

beforeAll(async () => {
  bed = await testBed(transitEngine())
  for (const type of ['ed25519', 'ecdsa-p256', 'ecdsa-p521', 'rsa-2048', 'aes256-gcm96']) {
    await call(`keys/${type}`, { type, exportable: true })
  }
  await call('keys/hmac', { type: 'hmac', key_size: 32 })
  await call('keys/derived', { type: 'ed25519', derived: true })
})

describe('signatures', () => {
  it.each([
    ['ecdsa-p256', 'sha2-256', 'sha256'],
    ['ecdsa-p521', 'sha2-512', 'sha512'],
  ])('of %s over digests satisfy OpenSSL', async (name, algorithm, hash) => {
    const exported = (await bed.read(`export/public-key/${name}`)) as { keys: Record<string, string> }
    const publicKey = createPublicKey(exported.keys[1]!)
    for (let round = 0; round < 10; round++) {
      const request = { input: digest(hash), prehashed: true }
      const { signature } = (await call(`sign/${name}/${algorithm}`, request)) as { signature: string }
      expect(nodeVerify(hash, Buffer.from('hello'), publicKey, Buffer.from(signature.slice(9), 'base64'))).toBe(true)
      expect(await call(`verify/${name}/${algorithm}`, { input, signature })).toEqual({ valid: true })
      const plain = await call(`sign/${name}/${algorithm}`, { input })
      expect(await call(`verify/${name}/${algorithm}`, { ...request, signature: plain.signature })).toEqual({
        valid: true,
      })
    }
  })

  it('of derived keys need the context and show the public key', async () => {
    expect(await refusal('sign/derived', { input })).toContain("missing 'context'")
    const made = await call('sign/derived', { input, context: input })
    expect((await bed.read('keys/derived', { context: input }))?.keys).toMatchObject({
      1: { public_key: made.public_key },
    })
    expect(await call('verify/derived', { input, context: input, signature: made.signature })).toEqual({ valid: true })
    const other = { input, context: digest('sha256'), signature: made.signature }
    expect(await call('verify/derived', other)).toEqual({ valid: false })
  })

  it('come in batches', async () => {
    const batch_input = [{ input, reference: 'z' }, {}, { input: '!!' }]
    const { batch_results } = (await call('sign/ecdsa-p256', { batch_input })) as {
      batch_results: { signature: string }[]
    }
    expect(batch_results).toMatchObject([
      { key_version: 1, reference: 'z' },
      { key_version: 0, error: 'missing input', reference: '' },
      { key_version: 0, error: 'unable to decode input as base64: illegal base64 data at input byte 0' },
    ])
    const { signature } = batch_results[0]!
    const checks = [
      { input, signature, reference: 'y' },
      { input: digest('sha1'), signature },
    ]
    expect(await call('verify/ecdsa-p256', { batch_input: checks })).toEqual({
      batch_results: [
        { valid: true, reference: 'y' },
        { valid: false, reference: '' },
      ],
    })
  })

  it.each([
    ['sign/none', { input }, 'signing key not found'],
    ['sign/hmac', { input }, 'key type hmac does not support signing'],
    ['sign/ecdsa-p256', { input: '!!' }, 'unable to decode input as base64: illegal base64 data at input byte 0'],
    [
      'sign/ecdsa-p256',
      { input, key_version: 5 },
      'requested version for signing is higher than the latest key version',
    ],
    ['sign/ecdsa-p256', { input, marshaling_algorithm: 'x' }, 'invalid marshaling type "x"'],
    ['sign/rsa-2048', { input, signature_algorithm: 'x' }, 'unsupported rsa signature algorithm x'],
    ['sign/rsa-2048', { input, salt_length: 'x' }, "salt length neither 'auto', 'hash', nor an int: x"],
    ['sign/rsa-2048', { input, salt_length: '-3' }, 'salt length is invalid: -3'],
    ['sign/rsa-2048', { input, salt_length: '500' }, 'crypto/rsa: key size too small for the hash and salt length'],
    [
      'sign/rsa-2048',
      { input, prehashed: true, salt_length: '500', hash_algorithm: 'none' },
      'hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15',
    ],
    ['sign/rsa-2048', { input, prehashed: true }, 'crypto/rsa: input must be hashed with given hash'],
    ['sign/rsa-2048/bogus', { input }, 'invalid hash algorithm "bogus"'],
    ['verify/ecdsa-p256', { input }, "neither a 'signature' nor an 'hmac' were given to verify"],
    ['verify/ecdsa-p256', { input, signature: 'x' }, 'invalid signature: no prefix'],
    ['verify/ecdsa-p256', { input, signature: 'vault:v1:AAAA' }, 'supplied signature is invalid'],
    ['verify/ecdsa-p256', { input, signature: 'vault:v5:AAAA' }, 'invalid signature: version is too new'],
    ['verify/ecdsa-p256', { input, signature: 'vault:v1:!!' }, 'invalid base64 signature value'],
    ['verify/none', { input, signature: 'vault:v1:AAAA' }, 'signature verification key not found'],
    [
      'verify/aes256-gcm96',
      { input, signature: 'vault:v1:AAAA' },
      'key type aes256-gcm96 does not support verification',
    ],
    [
      'verify/hmac',
      { batch_input: [{ input, hmac: 'x' }, { input }] },
      "some elements of batch_input are missing 'hmac'",
    ],
    ['verify/hmac', { input, hmac: 'x' }, 'invalid HMAC to verify: no prefix'],
    ['verify/hmac', { input, hmac: 'vault:v4:AAAA' }, 'invalid HMAC: version is too new'],
  ])('%s refuses %j', async (path, data, message) => {
    expect(await refusal(path, data)).toBe(message)
  })

  it.each(['ed25519', 'rsa-2048'])('of %s that are garbage are invalid', async (name) => {
    expect(await call(`verify/${name}`, { input, signature: 'vault:v1:AAAA' })).toEqual({ valid: false })
  })
})

describe('hmac', () => {
  it('refuses', async () => {
    expect(await refusal('hmac/hmac', {})).toBe('missing input for HMAC')
    expect(await refusal('hmac/none', { input })).toBe('encryption key not found')
    expect(await refusal('hmac/hmac', { input, key_version: 7 })).toBe(
      'key version does not exist; latest key version is 1',
    )
    expect(await refusal('hmac/hmac/bogus', { input })).toBe('unsupported algorithm "bogus"')
    expect(await call('verify/hmac', { input, hmac: 'vault:v1:AAAA' })).toEqual({ valid: false })
  })
})

describe('hash and random', () => {
  it('hash', async () => {
    expect(await call('hash', { input })).toEqual({ sum: createHash('sha256').update('hello').digest('hex') })
    expect(await call('hash/sha3-512', { input, format: 'base64' })).toEqual({ sum: digest('sha3-512') })
    expect(await refusal('hash', {})).toBe('input missing')
    expect(await refusal('hash', { input, format: 'x' })).toBe(
      'unsupported encoding format x; must be "hex" or "base64"',
    )
    expect(await refusal('hash', { input, algorithm: 'x' })).toBe('unsupported algorithm x')
  })

  it('random', async () => {
    expect(Buffer.from((await call('random')).random_bytes as string, 'base64')).toHaveLength(32)
    expect((await call('random/5', { format: 'hex' })).random_bytes).toMatch(/^[0-9a-f]{10}$/)
    expect((await call('random/platform/5', { format: 'hex' })).random_bytes).toMatch(/^[0-9a-f]{10}$/)
    expect((await bed.write('random/seal/5'))?.warnings).toHaveLength(1)
    expect(await refusal('random', { bytes: 0 })).toBe("'bytes' cannot be less than 1")
    expect(await refusal('random', { bytes: 200_000 })).toBe("'bytes' should be less than 131072")
    expect(await refusal('random/x')).toContain('error parsing url-set byte count')
  })
})

describe('export, backup, rotation', () => {
  const read = (path: string) =>
    bed.request('read', path).then(
      (response) => response?.data,
      (error) => error.message,
    )

  it('export only what allows it', async () => {
    await call('keys/closed')
    expect(await read('export/encryption-key/closed')).toBe('private key material is not exportable')
    expect(await read('export/bogus/closed')).toBe('invalid export type: bogus')
    expect(await read('export/encryption-key/none')).toBeUndefined()
    expect(await read('export/signing-key/aes256-gcm96')).toBe('signing not supported for the key')
    expect(await read('export/encryption-key/aes256-gcm96/latest')).toMatchObject({ keys: { 1: expect.any(String) } })
    expect(await read('export/encryption-key/aes256-gcm96/7')).toBe('version does not exist or cannot be found')
    expect(await read('export/encryption-key/aes256-gcm96/x')).toBe('invalid key version')
  })

  it('back up only what allows it, restore only what fits', async () => {
    expect(await read('backup/closed')).toBe('exporting is disallowed on the policy')
    expect(await read('backup/ed25519')).toBe('plaintext backup is disallowed on the policy')
    expect(await read('backup/none')).toBe('key "none" not found')
    expect(await refusal('restore', {})).toBe("'backup' must be supplied")
    for (const backup of ['x', 'e30=', Buffer.from('{"policy":{"type":0}}').toString('base64')]) {
      expect(await refusal('restore', { backup })).not.toBe('accepted')
    }
    await call('keys/b', { exportable: true, allow_plaintext_backup: true })
    await call('keys/b/rotate')
    await call('keys/b/config', { min_decryption_version: 2, min_encryption_version: 2 })
    await call('keys/b/trim', { min_available_version: 2 })
    const { backup } = (await read('backup/b')) as { backup: string }
    const { ciphertext } = await call('encrypt/b', { plaintext: input })
    expect(await refusal('restore', { backup })).toBe('key "b" already exists')
    await call('restore', { backup, force: true })
    await call('restore/c', { backup })
    expect(await call('decrypt/c', { ciphertext })).toEqual({ plaintext: input })
    expect(await call('keys/c')).toMatchObject({ min_available_version: 2, restore_info: { version: 2 } })
  })

  it('rotates keys that are due', async () => {
    await call('keys/due', { auto_rotate_period: '2h' })
    await bed.backend.periodic?.({} as never)
    expect(await call('keys/due')).toMatchObject({ latest_version: 1, auto_rotate_period: 7200 })
    bed.clock.now += 2 * 3_600_000
    await bed.backend.periodic?.({} as never)
    await bed.backend.periodic?.({} as never)
    expect(await call('keys/due')).toMatchObject({ latest_version: 2 })
  })
})
