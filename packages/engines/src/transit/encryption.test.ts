import { backendCompliance } from '@lockstep/backend/compliance'
import { type TestBed, testBed } from '@lockstep/backend/test-bed'
import { beforeEach, describe, expect, it } from 'vitest'
import { transitEngine } from './index.ts'

let bed: TestBed
beforeEach(async () => {
  bed = await testBed(transitEngine())
})

const b64 = (text: string) => Buffer.from(text).toString('base64')
const hello = b64('hello')
const call = async (path: string, data: Record<string, unknown> = {}) => (await bed.write(path, data))?.data ?? {}
const refusal = (path: string, data: Record<string, unknown> = {}) =>
  bed.write(path, data).then(
    () => 'accepted',
    (error) => error.message,
  )

backendCompliance({
  test: it,
  expect,
  factory: transitEngine(),
  object: {
    names: ['a', 'b', 'c'],
    path: (name) => `keys/${name}`,
    folder: 'keys/',
    first: {},
    changed: {},
    view: (data) => data.latest_version,
    existenceCheck: false,
    change: async (bed, name) => {
      await bed.write(`keys/${name}/rotate`)
    },
    beforeDelete: async (bed, name) => {
      await bed.write(`keys/${name}/config`, { deletion_allowed: true })
    },
  },
})

describe.each(['aes128-gcm96', 'aes256-gcm96', 'chacha20-poly1305'])('%s', (type) => {
  it.each([
    ['plain', {}, {}],
    ['derived', { derived: true }, { context: b64('ctx') }],
    ['convergent', { derived: true, convergent_encryption: true }, { context: b64('ctx') }],
    ['authenticated', {}, { associated_data: b64('more') }],
  ])('encrypts, rotates, rewraps: %s', async (_, settings, input) => {
    await call('keys/k', { type, ...settings })
    for (const plaintext of ['', hello, Buffer.alloc(100_000, 7).toString('base64')]) {
      const { ciphertext, key_version } = await call('encrypt/k', { plaintext, ...input })
      expect(ciphertext).toMatch(/^vault:v1:/)
      expect(key_version).toBe(1)
      expect(await call('decrypt/k', { ciphertext, ...input })).toEqual({ plaintext })
    }
    const { ciphertext } = await call('encrypt/k', { plaintext: hello, ...input })
    const again = await call('encrypt/k', { plaintext: hello, ...input })
    expect(again.ciphertext === ciphertext).toBe('convergent_encryption' in settings)
    await call('keys/k/rotate')
    const rewrapped = await call('rewrap/k', { ciphertext, ...input })
    expect(rewrapped.ciphertext).toMatch(/^vault:v2:/)
    expect(await call('decrypt/k', { ...rewrapped, ...input })).toEqual({ plaintext: hello })
    expect(await call('decrypt/k', { ciphertext, ...input })).toEqual({ plaintext: hello })
  })

  it('refuses anything tampered with', async () => {
    await call('keys/k', { type })
    const { ciphertext } = (await call('encrypt/k', { plaintext: hello })) as { ciphertext: string }
    const sealed = Buffer.from(ciphertext.slice(9), 'base64')
    for (let index = 0; index < sealed.length; index++) {
      const changed = Buffer.from(sealed)
      changed[index]! ^= 1
      expect(await refusal('decrypt/k', { ciphertext: `vault:v1:${changed.toString('base64')}` })).toBe(
        'cipher: message authentication failed',
      )
    }
    expect(await refusal('decrypt/k', { ciphertext, associated_data: b64('x') })).toBe(
      'cipher: message authentication failed',
    )
  })
})

describe('rsa', () => {
  it('encrypts and decrypts', async () => {
    await call('keys/k', { type: 'rsa-2048' })
    const { ciphertext } = await call('encrypt/k', { plaintext: hello })
    expect(await call('decrypt/k', { ciphertext })).toEqual({ plaintext: hello })
    expect(await refusal('encrypt/k', { plaintext: hello, associated_data: hello })).toContain('non-AEAD')
    expect(await refusal('encrypt/k', { plaintext: Buffer.alloc(300).toString('base64') })).toContain('too long')
    expect(await refusal('decrypt/k', { ciphertext: 'vault:v1:AAAA' })).toContain('decryption error')
  })
})

describe('refusals', () => {
  beforeEach(() => call('keys/k'))
  it.each([
    ['encrypt/k', {}, 'missing plaintext to encrypt'],
    ['encrypt/k', { plaintext: '!!' }, 'illegal base64 data at input byte 0'],
    ['encrypt/k', { plaintext: 'abc' }, 'illegal base64 data at input byte 0'],
    [
      'encrypt/k',
      { plaintext: hello, key_version: 9 },
      'requested version for encryption is higher than the latest key version',
    ],
    ['encrypt/k', { plaintext: hello, key_version: -1 }, 'requested version for encryption is negative'],
    ['encrypt/k', { plaintext: hello, nonce: hello }, 'provided nonce not allowed for this key'],
    ['encrypt/n', { plaintext: hello, type: 'rsa-2048' }, 'unknown key type rsa-2048'],
    [
      'encrypt/n',
      { plaintext: hello, convergent_encryption: true },
      'convergent encryption requires derivation to be enabled, so context is required',
    ],
    ['encrypt/bad name', { plaintext: hello }, 'unsupported path'],
    ['encrypt/k', { batch_input: [] }, 'missing batch input to process'],
    [
      'encrypt/k',
      { batch_input: [{ plaintext: hello }, {}] },
      "failed to parse batch input: '[1].plaintext' missing plaintext to encrypt",
    ],
    [
      'encrypt/k',
      { batch_input: [{ plaintext: hello }, { plaintext: hello, context: hello }] },
      'context should be set either in all the request blocks or in none',
    ],
    ['decrypt/k', {}, 'missing ciphertext to decrypt'],
    ['decrypt/k', { ciphertext: 'bogus' }, 'invalid ciphertext: no prefix'],
    ['decrypt/k', { ciphertext: 'vault:v1' }, 'invalid ciphertext: wrong number of fields'],
    ['decrypt/k', { ciphertext: 'vault:vx:AAAA' }, 'invalid ciphertext: version number could not be decoded'],
    ['decrypt/k', { ciphertext: 'vault:v9:AAAA' }, 'invalid ciphertext: version is too new'],
    ['decrypt/k', { ciphertext: 'vault:v1:!!' }, 'invalid ciphertext: could not decode base64'],
    ['decrypt/k', { ciphertext: 'vault:v1:AAAA' }, 'invalid ciphertext length'],
    ['decrypt/none', { ciphertext: 'vault:v1:AAAA' }, 'encryption key not found'],
    ['rewrap/none', { ciphertext: 'vault:v1:AAAA' }, 'encryption key not found'],
    ['datakey/bogus/k', {}, "Invalid path, must be 'plaintext' or 'wrapped'"],
    ['datakey/plaintext/k', { bits: 100 }, 'invalid bit length'],
    ['keys/n', { type: 'bogus' }, 'unknown key type bogus'],
    ['keys/n', { convergent_encryption: true }, 'convergent encryption requires derivation to be enabled'],
    [
      'keys/n',
      { type: 'rsa-2048', derived: true },
      'key derivation and convergent encryption not supported for keys of type rsa-2048',
    ],
    ['keys/n', { type: 'hmac', key_size: 16 }, 'invalid key_size 16'],
    ['keys/n', { key_size: 32 }, 'key_size is not valid for algorithm aes256-gcm96'],
    ['keys/n', { auto_rotate_period: '30s' }, 'auto rotate period must be 0 to disable or at least an hour'],
    ['keys/none/rotate', {}, 'key not found'],
    ['keys/none/config', {}, 'no existing key named none could be found'],
    ['keys/k/config', { min_decryption_version: 5 }, 'cannot set min decryption version of 5, latest key version is 1'],
    [
      'keys/k/trim',
      { min_available_version: 1 },
      'minimum available version cannot be set when minimum encryption version is not set',
    ],
  ])('%s %j', async (path, data, message) => {
    expect(await refusal(path, data)).toBe(message)
  })

  it('needs a context for derived keys', async () => {
    await call('keys/d', { derived: true })
    expect(await refusal('encrypt/d', { plaintext: hello })).toContain("missing 'context' for key derivation")
    const { ciphertext } = await call('encrypt/d', { plaintext: hello, context: hello })
    expect(await refusal('decrypt/d', { ciphertext })).toContain("missing 'context'")
    expect(await refusal('decrypt/d', { ciphertext, context: b64('other') })).toContain('authentication failed')
  })

  it('does not encrypt with keys that only sign', async () => {
    await call('keys/e', { type: 'ed25519' })
    expect(await refusal('encrypt/e', { plaintext: hello })).toBe(
      'message encryption not supported for key type ed25519',
    )
    expect(await refusal('decrypt/e', { ciphertext: 'vault:v1:AAAA' })).toContain('decryption not supported')
  })
})

describe('batches', () => {
  it('encrypt, decrypt and rewrap, item by item', async () => {
    await call('keys/k')
    const batch = [{ plaintext: hello, reference: 'a' }, { plaintext: b64('two') }]
    const { batch_results } = (await call('encrypt/k', { batch_input: batch })) as {
      batch_results: { ciphertext: string }[]
    }
    expect(batch_results).toMatchObject([
      { key_version: 1, reference: 'a' },
      { key_version: 1, reference: '' },
    ])
    const rewrapped = (await call('rewrap/k', { batch_input: batch_results })) as { batch_results: object[] }
    expect(await call('decrypt/k', { batch_input: rewrapped.batch_results })).toEqual({
      batch_results: [
        { plaintext: hello, reference: 'a' },
        { plaintext: b64('two'), reference: '' },
      ],
    })
  })

  it('report failures beside successes', async () => {
    const batch_input = [{ plaintext: hello }, { plaintext: '!!', reference: 'bad' }]
    const response = await bed.write('encrypt/k', { batch_input })
    expect(response).toMatchObject({
      status: 400,
      data: { batch_results: [{ key_version: 1 }, { error: 'illegal base64 data at input byte 0', reference: 'bad' }] },
    })
    const partial = { partial_failure_response_code: 207 }
    expect(await bed.write('encrypt/k', { batch_input, ...partial })).toMatchObject({ status: 207 })
    expect(await bed.write('encrypt/k', { batch_input: [batch_input[1]], ...partial })).toMatchObject({ status: 400 })
  })
})

describe('keys', () => {
  it('are created by encrypt unless that is disabled', async () => {
    expect(await bed.exists('encrypt/new', {})).toBe(false)
    await call('encrypt/new', { plaintext: hello, context: hello })
    expect(await bed.exists('encrypt/new', {})).toBe(true)
    expect(await call('keys/new')).toMatchObject({ derived: true, type: 'aes256-gcm96' })
    expect(await call('config/keys', { disable_upsert: true })).toEqual({ disable_upsert: true })
    expect(await refusal('encrypt/more', { plaintext: hello })).toBe('encryption key not found')
  })

  it('look like this', async () => {
    expect(await call('keys/k')).toEqual({
      allow_plaintext_backup: false,
      auto_rotate_period: 0,
      deletion_allowed: false,
      derived: false,
      exportable: false,
      imported_key: false,
      keys: { 1: Math.floor(bed.clock.now / 1000) },
      latest_version: 1,
      min_available_version: 0,
      min_decryption_version: 1,
      min_encryption_version: 0,
      name: 'k',
      supports_decryption: true,
      supports_derivation: true,
      supports_encryption: true,
      supports_signing: false,
      type: 'aes256-gcm96',
    })
    expect(await call('keys/d', { derived: true, convergent_encryption: true })).toMatchObject({
      kdf: 'hkdf_sha256',
      convergent_encryption: true,
      convergent_encryption_version: -1,
    })
    expect((await call('keys/e', { type: 'ecdsa-p256' })).keys).toMatchObject({
      1: { name: 'P-256', public_key: expect.stringContaining('BEGIN PUBLIC KEY') },
    })
    expect(await call('keys/h', { type: 'hmac', key_size: 64 })).toMatchObject({ key_size: 64 })
  })

  it('hold to minimum versions, trim, and delete', async () => {
    await call('keys/k')
    const { ciphertext } = await call('encrypt/k', { plaintext: hello })
    await call('keys/k/rotate')
    await call('keys/k/rotate')
    await call('keys/k/config', { min_decryption_version: 2, min_encryption_version: 2 })
    expect(await refusal('decrypt/k', { ciphertext })).toBe(
      'ciphertext or signature version is disallowed by policy (too old)',
    )
    expect(await refusal('encrypt/k', { plaintext: hello, key_version: 1 })).toContain('less than the minimum')
    await call('keys/k/config', { min_decryption_version: 1, min_encryption_version: 1 })
    expect(await call('decrypt/k', { ciphertext })).toEqual({ plaintext: hello })
    await call('keys/k/config', { min_decryption_version: 3, min_encryption_version: 3 })
    await call('keys/k/trim', { min_available_version: 3 })
    expect(await bed.store.list('key/k/')).toEqual(['3'])
    expect(await refusal('keys/k/config', { min_decryption_version: 2 })).toContain('less then min available')
    expect(await refusal('keys/k/trim', { min_available_version: 2 })).toContain('cannot be decremented')
    await expect(bed.request('delete', 'keys/k')).rejects.toMatchObject({
      message: 'error deleting policy k: deletion is not allowed for this key',
    })
    await call('keys/k/config', { deletion_allowed: true })
    await bed.request('delete', 'keys/k')
    expect(await bed.store.list('')).toEqual([])
    expect(await refusal('encrypt/k', { plaintext: hello, type: 'bogus' })).toBe('unknown key type bogus')
  })

  it('lose no concurrent rotation', async () => {
    await call('keys/k')
    await Promise.all([1, 2, 3, 4].map(() => call('keys/k/rotate')))
    expect(await call('keys/k')).toMatchObject({ latest_version: 5 })
    expect(await bed.store.list('key/k/')).toHaveLength(5)
  })
})

it('works from memory', async () => {
  await call('encrypt/k', { plaintext: hello })
  bed.storageCalls()
  const { ciphertext } = await call('encrypt/k', { plaintext: hello })
  await call('decrypt/k', { ciphertext })
  expect(bed.storageCalls()).toEqual({ reads: 0, writes: 0 })
})

it('gives data keys', async () => {
  await call('keys/k')
  for (const bits of [128, 256, 512]) {
    const { ciphertext, plaintext } = await call('datakey/plaintext/k', { bits })
    expect(Buffer.from(plaintext as string, 'base64')).toHaveLength(bits / 8)
    expect(await call('decrypt/k', { ciphertext })).toEqual({ plaintext })
  }
  expect(await call('datakey/wrapped/k')).not.toHaveProperty('plaintext')
})

it('encrypts on a performance secondary, which cannot create keys', async () => {
  await call('keys/k')
  bed.readOnly.value = true
  const { ciphertext } = await call('encrypt/k', { plaintext: hello })
  expect(await call('decrypt/k', { ciphertext })).toEqual({ plaintext: hello })
  await expect(bed.write('encrypt/new', { plaintext: hello })).rejects.toMatchObject({ code: 'BACKEND_READ_ONLY' })
})
