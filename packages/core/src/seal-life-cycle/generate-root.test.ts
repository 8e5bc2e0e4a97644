import { randomBytes } from 'node:crypto'
import { splitKey } from '@lockstep/seal'
import { decrypt, generateKey, readMessage } from 'openpgp'
import { beforeEach, expect, test } from 'vitest'
import { type GenerateRoot, generateRoot } from './generate-root.ts'

const TOKEN = 'hvs.123456789012345678901234'
const key = randomBytes(32)
const shares = splitKey(key, { secretShares: 3, secretThreshold: 2 }).map((share) => Buffer.from(share).toString('hex'))
let issued = 0
let handedOut: Uint8Array[] = []
let root: GenerateRoot

beforeEach(() => {
  issued = 0
  handedOut = []
  root = generateRoot({
    shareCounts: async () => ({ shares: 3, threshold: 2 }),
    async operatorKey() {
      const copy = Uint8Array.from(key)
      handedOut.push(copy)
      return { key: copy, shares: 3, threshold: 2 }
    },
    async issue() {
      issued++
      return TOKEN
    },
    tokenLength: TOKEN.length,
    resultField: 'encoded_root_token',
  })
})

const start = async (params = {}) => (await root.run('start', params)) as { nonce: string; otp: string }

test('before an attempt, during it, and once it is complete', async () => {
  const nothing = {
    ...{ nonce: '', started: false, progress: 0, required: 2, complete: false, encoded_token: '' },
    ...{ encoded_root_token: '', pgp_fingerprint: '', otp: '', otp_length: 28 },
  }
  expect(await root.run('status', {})).toEqual(nothing)
  const { nonce, otp } = await start()
  expect(otp).toMatch(/^[0-9A-Za-z]{28}$/)
  expect(await root.run('status', {})).toEqual({ ...nothing, nonce, started: true })
  expect(await root.run('update', { key: shares[2], nonce })).toEqual({ ...nothing, nonce, started: true, progress: 1 })
  const done = (await root.run('update', { key: shares[0], nonce })) as Record<string, string>
  expect(done).toMatchObject({ complete: true, progress: 2, encoded_root_token: done.encoded_token, nonce })
  const xor = Buffer.from(done.encoded_token!, 'base64').map((byte, place) => byte ^ otp.charCodeAt(place))
  expect(xor.toString()).toBe(TOKEN)
  expect(await root.run('status', {})).toEqual(nothing)
  expect(issued).toBe(1)
  expect(handedOut.every((copy) => copy.every((byte) => byte === 0))).toBe(true)
})

test('a password of the one who starts is never shown', async () => {
  const otp = 'x'.repeat(28)
  expect(await start({ otp })).toMatchObject({ otp: '' })
  for (const bad of ['short', 'ä'.repeat(28), 42]) {
    await root.run('cancel', {})
    await expect(start({ otp: bad })).rejects.toThrow('otp string is wrong length; expected 28')
  }
})

test('one attempt at a time, also when two start together', async () => {
  const outcomes = await Promise.allSettled([start(), start()])
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  await expect(start()).rejects.toThrow('root generation already in progress')
  expect(await root.run('cancel', {})).toBeUndefined()
  await start()
})

test('shares without an attempt, of another one, twice, or none at all', async () => {
  await expect(root.run('update', { key: shares[0], nonce: '' })).rejects.toThrow('no root generation in progress')
  const { nonce } = await start()
  await expect(root.run('update', { nonce })).rejects.toThrow("'key' must be specified")
  await expect(root.run('update', { key: 'zz', nonce })).rejects.toThrow('valid hex or base64')
  await expect(root.run('update', { key: shares[0], nonce: 'other' })).rejects.toThrow('incorrect nonce supplied')
  await root.run('update', { key: shares[0], nonce })
  await expect(root.run('update', { key: shares[0], nonce })).rejects.toThrow('already been provided')
  expect(await root.run('status', {})).toMatchObject({ progress: 1 })
})

test('wrong shares abort: nothing is issued, progress starts again, the attempt goes on', async () => {
  const { nonce } = await start()
  const wrong = [randomBytes(33), randomBytes(33), randomBytes(7)].map((share) => share.toString('hex'))
  for (const pair of [wrong.slice(0, 2), wrong.slice(1)]) {
    await root.run('update', { key: pair[0], nonce })
    await expect(root.run('update', { key: pair[1], nonce })).rejects.toThrow('root generation aborted')
    expect(await root.run('status', {})).toMatchObject({ started: true, progress: 0, nonce })
  }
  expect(issued).toBe(0)
  await root.run('update', { key: shares[0], nonce })
  expect(await root.run('update', { key: shares[1], nonce })).toMatchObject({ complete: true })
})

test('all shares at once issue one token', async () => {
  const { nonce } = await start()
  const outcomes = await Promise.allSettled(shares.map((share) => root.run('update', { key: share, nonce })))
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
  expect(issued).toBe(1)
})

test('an attempt with a PGP key', async () => {
  const { privateKey, publicKey } = await generateKey({ userIDs: [{ name: 'operator' }], format: 'object' })
  const pgp_key = Buffer.from(publicKey.write()).toString('base64')
  const fingerprint = publicKey.getFingerprint()
  const { nonce } = await start({ pgp_key })
  expect(await root.run('status', {})).toMatchObject({ started: true, pgp_fingerprint: fingerprint, otp: '' })
  await root.run('update', { key: shares[0], nonce })
  const done = (await root.run('update', { key: shares[1], nonce }))!
  expect(done).toMatchObject({ complete: true, pgp_fingerprint: fingerprint, otp: '' })
  expect(done.encoded_root_token).toBe(done.encoded_token)
  const message = await readMessage({ binaryMessage: Buffer.from(String(done.encoded_token), 'base64') })
  const { data } = await decrypt({ message, decryptionKeys: privateKey })
  expect(data).toBe(TOKEN)
  expect(await root.run('status', {})).toMatchObject({ started: false, pgp_fingerprint: '' })
})

test('PGP keys that are none, private, or cannot be encrypted to', async () => {
  const { privateKey, publicKey } = await generateKey({ userIDs: [{ name: 'x' }], format: 'object' })
  const signing = await generateKey({ userIDs: [{ name: 'x' }], format: 'object', subkeys: [] })
  const base64 = (key: { write(): Uint8Array }): string => Buffer.from(key.write()).toString('base64')
  const bad: [unknown, string][] = [
    ['%', 'pgp_key: expected base64'],
    ['AAAA', 'pgp_key: it is not a PGP key'],
    [7, 'pgp_key: expected a string'],
    ['A'.repeat(100_000), 'pgp_key: expected base64'],
    [base64(privateKey), 'pgp_key: it is a private key'],
    [base64(signing.publicKey), 'pgp_key: nothing can be encrypted to it'],
  ]
  for (const [pgp_key, message] of bad) await expect(root.run('start', { pgp_key })).rejects.toThrow(message)
  const both = { pgp_key: base64(publicKey), otp: 'x'.repeat(TOKEN.length) }
  await expect(root.run('start', both)).rejects.toThrow('otp and pgp_key cannot be given together')
  expect(await root.run('status', {})).toMatchObject({ started: false })
})
