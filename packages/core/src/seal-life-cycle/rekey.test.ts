import { randomBytes } from 'node:crypto'
import { combineKey, splitKey } from '@lockstep/seal'
import { decrypt, generateKey, readMessage } from 'openpgp'
import { beforeEach, describe, expect, test } from 'vitest'
import { type Rekey, rekey } from './rekey.ts'
import type { OperatorKey } from './seal-material.ts'
import { decodeBackup } from './share-backup.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const sharesOf = (key: Uint8Array): string[] => splitKey(key, { secretShares: 3, secretThreshold: 2 }).map(hex)

let present: OperatorKey
let shares: string[]
let backups: { at: 'replace' | 'ahead'; backup: Uint8Array }[]
let failing: boolean
let handedOut: Uint8Array[]
/** While the present key is read. */
let meanwhile: () => void
let subject: Rekey

beforeEach(() => {
  const key = randomBytes(32)
  present = { key, shares: 3, threshold: 2 }
  shares = sharesOf(key)
  ;[backups, handedOut, failing, meanwhile] = [[], [], false, () => {}]
  subject = rekey({
    target: 'barrier',
    shareCounts: async () => ({ shares: present.shares, threshold: present.threshold }),
    async operatorKey() {
      const copy = Uint8Array.from(present.key)
      handedOut.push(copy)
      meanwhile()
      return { ...present, key: copy }
    },
    async replace(next, backup) {
      if (failing) throw new Error('no storage')
      present = next
      if (backup !== undefined) backups.push({ at: 'replace', backup })
    },
    async keepBackup(backup) {
      backups.push({ at: 'ahead', backup })
    },
    log: { debug() {}, info() {}, warn() {}, error() {} },
  })
})

type Answer = Record<string, unknown> & {
  nonce: string
  keys: string[]
  keys_base64: string[]
  verification_nonce: string
}
const run = async (...[action, params = {}]: [Parameters<Rekey['run']>[0], Record<string, unknown>?]) =>
  (await subject.run(action, params)) as Answer
const start = (params: Record<string, unknown> = {}) =>
  run('start', { secret_shares: 5, secret_threshold: 3, ...params })
async function agree(nonce: string, given = shares.slice(0, 2)): Promise<Answer> {
  let last: Answer | undefined
  for (const key of given) last = await run('update', { key, nonce })
  return last!
}
const combined = (keys: string[], counts = { secretShares: 5, secretThreshold: 3 }): Uint8Array =>
  combineKey(
    keys.slice(0, counts.secretThreshold).map((key) => Buffer.from(key, 'hex')),
    counts,
  )

const NOTHING = {
  ...{ nonce: '', started: false, t: 0, n: 0, progress: 0, required: 2 },
  ...{ pgp_fingerprints: null, backup: false, verification_required: false },
}

describe('without verification', () => {
  test('before, during and once enough holders agreed', async () => {
    expect(await run('status')).toEqual(NOTHING)
    const { nonce } = await start()
    const started = { ...NOTHING, nonce, started: true, t: 3, n: 5 }
    expect(await run('status')).toEqual(started)
    expect(await run('update', { key: shares[0], nonce })).toEqual({ ...started, progress: 1 })
    const done = await run('update', { key: Buffer.from(shares[2]!, 'hex').toString('base64'), nonce })
    expect(done).toEqual({
      ...{ nonce, complete: true, pgp_fingerprints: null, backup: false, verification_required: false },
      keys: expect.any(Array),
      keys_base64: done.keys.map((key) => Buffer.from(key, 'hex').toString('base64')),
    })
    expect(present).toMatchObject({ shares: 5, threshold: 3 })
    expect([...combined(done.keys)]).toEqual([...present.key])
    expect([...combined(done.keys.slice(2))]).toEqual([...present.key])
    expect(await run('status')).toEqual({ ...NOTHING, required: 3 })
    expect(handedOut.every((copy) => copy.every((byte) => byte === 0))).toBe(true)
  })

  test('one share is the key itself', async () => {
    const { nonce } = await start({ secret_shares: 1, secret_threshold: 1 })
    const { keys } = await agree(nonce)
    expect(keys).toEqual([hex(present.key)])
  })

  test('wrong shares are refused, and the attempt goes on from none', async () => {
    const { nonce } = await start()
    const before = present
    await expect(agree(nonce, sharesOf(randomBytes(32)).slice(1))).rejects.toThrow('key verification failed')
    expect(await run('status')).toMatchObject({ started: true, progress: 0 })
    expect(present).toBe(before)
    expect((await agree(nonce)).complete).toBe(true)
  })

  test('a share given twice, of another length, of another attempt, or no share', async () => {
    const { nonce } = await start()
    await run('update', { key: shares[0], nonce })
    for (const [params, text] of [
      [{ key: shares[0], nonce }, 'given key has already been provided during this rekey operation'],
      [{ key: 'abcd', nonce }, 'key is shorter than minimum 16 bytes'],
      [{ key: 'ab'.repeat(34), nonce }, 'key is longer than maximum 33 bytes'],
      [{ key: '!', nonce }, "'key' must be a valid hex or base64 string"],
      [{ nonce }, "'key' must be specified in request body as JSON"],
      [{ key: shares[1], nonce: 'other' }, `incorrect nonce supplied; nonce for this rekey operation is "${nonce}"`],
      [{ key: shares[1] }, 'incorrect nonce supplied'],
    ] as const) {
      await expect(run('update', params)).rejects.toMatchObject({
        code: 'CORE_INVALID_REQUEST',
        message: expect.stringContaining(text),
      })
    }
    expect(await run('status')).toMatchObject({ progress: 1 })
  })

  test('what cannot be started', async () => {
    for (const [params, text] of [
      [{ secret_shares: 0 }, 'shares must be at least one'],
      [{ secret_threshold: 6 }, 'threshold cannot be larger than shares'],
      [{ secret_threshold: 1 }, 'threshold must be greater than one for multiple shares'],
      [{ secret_shares: 256 }, 'shares must be less than 256'],
      [{ secret_shares: 'many' }, 'secret_shares: expected a whole number'],
      [{ backup: true }, 'cannot request a backup of the new keys without providing PGP keys'],
      [{ backup: 1 }, 'backup: expected true or false'],
      [{ pgp_keys: ['AAAA'] }, 'incorrect number of PGP keys for rekey'],
      [{ pgp_keys: ['AAAA'], secret_shares: 1, secret_threshold: 1 }, 'pgp_keys: it is not a PGP key'],
      [{ pgp_keys: 'AAAA' }, 'pgp_keys: expected a list'],
    ] as const) {
      await expect(start(params)).rejects.toThrow(text)
    }
    await expect(run('update', { key: shares[0], nonce: 'x' })).rejects.toThrow('no barrier rekey in progress')
    await start()
    await expect(start()).rejects.toThrow('rekey already in progress')
  })

  test('cancel forgets everything; a nonce given with it must be right', async () => {
    const { nonce } = await start()
    await run('update', { key: shares[0], nonce })
    await expect(run('cancel', { nonce: 'other' })).rejects.toThrow('incorrect nonce')
    expect(await subject.run('cancel', { nonce })).toBeUndefined()
    expect(await run('status')).toEqual(NOTHING)
    expect(await subject.run('cancel', {})).toBeUndefined()
  })

  test('an attempt that sealing ends while the shares are compared changes nothing', async () => {
    for (const require_verification of [false, true]) {
      const before = present
      const { nonce } = await start({ require_verification })
      meanwhile = () => subject.reset()
      await expect(agree(nonce)).rejects.toThrow('no barrier rekey in progress')
      meanwhile = () => {}
      expect(present).toBe(before)
      expect(await run('status')).toEqual(NOTHING)
    }
  })

  test('when storing fails, the same shares try again and get the same new ones', async () => {
    const { nonce } = await start()
    const before = present
    failing = true
    await expect(agree(nonce)).rejects.toThrow('no storage')
    failing = false
    expect(present).toBe(before)
    // It may have been stored all the same: then other shares are in force by now, and these must still do.
    present = { key: randomBytes(32), shares: 5, threshold: 3 }
    expect(await run('status')).toMatchObject({ progress: 0, required: 2 })
    const { keys } = await agree(nonce)
    expect([...combined(keys)]).toEqual([...present.key])
  })
})

describe('with verification', () => {
  test('the new key is in force only when its holders have shown it', async () => {
    const { nonce } = await start({ require_verification: true })
    await expect(run('verify-status')).resolves.toEqual({ nonce: '', started: false, t: 3, n: 5, progress: 0 })
    await expect(run('verify', { key: shares[0], nonce: '' })).rejects.toThrow('no rekey verification in progress')
    const before = present
    const made = await agree(nonce)
    expect(made).toMatchObject({ complete: true, verification_required: true, verification_nonce: expect.any(String) })
    expect(present).toBe(before)
    expect(await run('status')).toMatchObject({ started: true, verification_nonce: made.verification_nonce })
    await expect(run('update', { key: shares[0], nonce })).rejects.toThrow('verification must be performed')

    const verify = (key: string, of = made.verification_nonce) => run('verify', { key, nonce: of })
    expect(await verify(made.keys[4]!)).toEqual({
      ...{ nonce: made.verification_nonce, started: true, t: 3, n: 5, progress: 1 },
    })
    await expect(verify(made.keys[4]!)).rejects.toThrow('given key has already been provided during this verify')
    await expect(verify(made.keys[3]!, nonce)).rejects.toThrow('incorrect nonce supplied; nonce for this verify')
    await verify(made.keys[0]!)
    expect(await verify(made.keys[2]!)).toEqual({ nonce: made.verification_nonce, complete: true })
    expect([...combined(made.keys)]).toEqual([...present.key])
    expect(await run('status')).toEqual({ ...NOTHING, required: 3 })
    await expect(run('verify-status')).rejects.toThrow('no rekey configuration found')
  })

  test('wrong shares of the new key start the verification over, under another nonce', async () => {
    const { nonce } = await start({ require_verification: true, secret_shares: 3, secret_threshold: 2 })
    const made = await agree(nonce)
    const before = present
    await run('verify', { key: shares[0], nonce: made.verification_nonce })
    await expect(run('verify', { key: shares[1], nonce: made.verification_nonce })).rejects.toThrow(
      'rekey verification failed; incorrect key shares supplied',
    )
    expect(present).toBe(before)
    const next = await run('verify-status')
    expect(next).toMatchObject({ started: true, progress: 0 })
    expect(next.nonce).not.toBe(made.verification_nonce)
    const again = await run('verify-restart')
    expect(again.nonce).not.toBe(next.nonce)
    await run('verify', { key: made.keys[0], nonce: again.nonce })
    expect(await run('verify', { key: made.keys[1], nonce: again.nonce })).toMatchObject({ complete: true })
    expect(present).not.toBe(before)
  })

  test('cancelling before the verification leaves the present shares in force', async () => {
    const { nonce } = await start({ require_verification: true })
    const before = present
    await agree(nonce)
    await subject.run('cancel', {})
    expect(present).toBe(before)
    expect(await run('status')).toEqual(NOTHING)
  })

  test('a failed change can be verified again', async () => {
    const { nonce } = await start({ require_verification: true, secret_shares: 1, secret_threshold: 1 })
    const { keys, verification_nonce } = await agree(nonce)
    failing = true
    await expect(run('verify', { key: keys[0], nonce: verification_nonce })).rejects.toThrow('no storage')
    failing = false
    expect(await run('verify', { key: keys[0], nonce: verification_nonce })).toMatchObject({ complete: true })
    expect(hex(present.key)).toBe(keys[0])
  })
})

describe('PGP', () => {
  async function holders(count: number) {
    const made = await Promise.all(
      Array.from({ length: count }, (_, index) =>
        generateKey({ userIDs: [{ name: `holder ${index}` }], type: 'ecc', format: 'object' }),
      ),
    )
    return made.map(({ privateKey, publicKey }) => ({
      fingerprint: publicKey.getFingerprint(),
      publicKey: Buffer.from(publicKey.write()).toString('base64'),
      open: async (base64: string) => {
        const message = await readMessage({ binaryMessage: Buffer.from(base64, 'base64') })
        return (await decrypt({ message, decryptionKeys: privateKey })).data as string
      },
    }))
  }

  test.each([false, true])('each share to its holder, and a copy kept (verification: %s)', async (verification) => {
    const people = await holders(2)
    const twice = [people[0]!, people[1]!, people[0]!]
    const started = await start({
      ...{ secret_shares: 3, secret_threshold: 2, backup: true, require_verification: verification },
      pgp_keys: twice.map(({ publicKey }) => publicKey),
    })
    const fingerprints = twice.map(({ fingerprint }) => fingerprint)
    expect(started).toMatchObject({ pgp_fingerprints: fingerprints, backup: true })
    const made = await agree(started.nonce)
    expect(made).toMatchObject({ pgp_fingerprints: fingerprints, backup: true })
    expect(made.keys.map((key) => Buffer.from(key, 'hex').toString('base64'))).toEqual(made.keys_base64)
    const opened = await Promise.all(twice.map(({ open }, index) => open(made.keys_base64[index]!)))
    if (verification) {
      await run('verify', { key: opened[0], nonce: made.verification_nonce })
      await run('verify', { key: opened[2], nonce: made.verification_nonce })
    }
    expect([...combined(opened, { secretShares: 3, secretThreshold: 2 })]).toEqual([...present.key])
    expect(backups.map(({ at }) => at)).toEqual([verification ? 'ahead' : 'replace'])
    expect(decodeBackup('k', backups[0]!.backup)).toEqual({
      nonce: started.nonce,
      keys: { [fingerprints[0]!]: [made.keys[0], made.keys[2]], [fingerprints[1]!]: [made.keys[1]] },
    })
  })
})
