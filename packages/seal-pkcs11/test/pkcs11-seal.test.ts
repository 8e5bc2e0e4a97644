// The PKCS#11 seal on SoftHSM.
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { autoSealCompliance } from '@lockstep/seal/compliance'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Pkcs11Seal, type Pkcs11SealOptions, pkcs11Seal } from '../src/index.ts'
import { type SoftHsm, startSoftHsm } from './softhsm.ts'

const PIN = '9-secret-pin'
const TOKEN = 'lockstep test'
const plaintext = new Uint8Array(randomBytes(32))

let hsm: SoftHsm
let count = 0
let seals: Pkcs11Seal[] = []
beforeAll(async () => {
  hsm = await startSoftHsm()
  hsm.initToken(TOKEN, PIN)
})
afterEach(async () => {
  for (const seal of seals) await seal.close()
  seals = []
})
afterAll(() => hsm.close())

async function open(options: Partial<Pkcs11SealOptions> = {}): Promise<Pkcs11Seal> {
  const keyLabel = options.keyId === undefined ? `key ${count++}` : undefined
  const seal = await pkcs11Seal({
    ...{ lib: hsm.lib, tokenLabel: TOKEN, pin: PIN, generateKey: true },
    ...(keyLabel === undefined ? {} : { keyLabel }),
    ...options,
  })
  seals.push(seal)
  return seal
}

/** Its key is in a token of its own, or another seal could open its envelopes. */
function openOwn(options: Partial<Pkcs11SealOptions> = {}): Promise<Pkcs11Seal> {
  const tokenLabel = `own ${count++}`
  hsm.initToken(tokenLabel, PIN)
  return open({ tokenLabel, ...options })
}
autoSealCompliance({ test, factory: () => openOwn() })
describe('with the key found by id', () => {
  autoSealCompliance({ test, factory: () => openOwn({ keyId: randomBytes(8) }) })
})

describe('keys', () => {
  test('are found again by the next seal, and not made where they are not to be', async () => {
    const first = await open({ keyLabel: 'kept' })
    const envelope = await first.encrypt(plaintext)
    await first.close()
    const second = await open({ keyLabel: 'kept', generateKey: false })
    expect(await second.decrypt(envelope)).toEqual(plaintext)
    const stranger = await open({ keyLabel: 'nowhere', generateKey: false })
    await expect(stranger.encrypt(plaintext)).rejects.toMatchObject({ code: 'SEAL_UNKNOWN_KEY' })
    expect(await stranger.decrypt(envelope)).toEqual(plaintext)
  })

  test('a new label: old envelopes open, new ones name the new key', async () => {
    const before = await open({ keyLabel: '2026' })
    const envelope = await before.encrypt(plaintext)
    const after = await open({ keyLabel: '2027' })
    expect(await after.decrypt(envelope)).toEqual(plaintext)
    expect([envelope, await after.encrypt(plaintext)].map(after.keyIdOf)).toEqual(['2026', '2027'])
  })

  test('two of one label are told apart by id, or refused', async () => {
    const [one, two] = [randomBytes(4), randomBytes(4)]
    const first = await open({ keyLabel: 'twice', keyId: one })
    const second = await open({ keyLabel: 'twice', keyId: two })
    const envelope = await first.encrypt(plaintext)
    await second.encrypt(plaintext)
    expect(first.keyIdOf(envelope)).toBe(`twice/${one.toString('hex')}`)
    expect(await second.decrypt(envelope)).toEqual(plaintext)
    const either = await open({ keyLabel: 'twice' })
    await expect(either.encrypt(plaintext)).rejects.toMatchObject({
      code: 'SEAL_INVALID_CONFIG',
      message: expect.stringContaining('several AES keys'),
    })
  })
})

describe('tokens', () => {
  test('a wrong PIN is tried once only, and shown nowhere', async () => {
    hsm.initToken('careful', PIN)
    const seal = await open({ tokenLabel: 'careful', pin: 'wrong-pin-1234' })
    const first = await seal.encrypt(plaintext).catch((error: Error) => error as Error)
    expect(first).toMatchObject({ code: 'SEAL_UNAVAILABLE', message: expect.stringContaining('CKR_PIN_INCORRECT') })
    expect(`${(first as Error).stack}${JSON.stringify(first)}`).not.toContain('wrong-pin-1234')
    for (let n = 0; n < 20; n++) {
      await expect(seal.encrypt(plaintext)).rejects.toMatchObject({
        message: expect.stringContaining('not tried again'),
      })
    }
    const right = await open({ tokenLabel: 'careful' })
    expect(await right.decrypt(await right.encrypt(plaintext))).toEqual(plaintext)
  })

  test('one that is away, and comes back', async () => {
    for (const seal of seals) await seal.close()
    const known = readdirSync(hsm.tokens)
    hsm.initToken('removable', PIN)
    const folder = readdirSync(hsm.tokens).find((name) => !known.includes(name))!
    const [here, away] = [join(hsm.tokens, folder), join(hsm.elsewhere, folder)]
    await rename(here, away)
    const seal = await open({ tokenLabel: 'removable' })
    await expect(seal.encrypt(plaintext)).rejects.toMatchObject({
      code: 'SEAL_UNAVAILABLE',
      message: 'there is no token with label removable',
    })
    await rename(away, here)
    expect(await seal.decrypt(await seal.encrypt(plaintext))).toEqual(plaintext)
  })

  test('a session that ended is opened again', async () => {
    const seal = await open()
    const envelope = await seal.encrypt(plaintext)
    // Behind its back, as a restarted module would.
    const { openLibrary } = await import('../src/library.ts')
    const library = await openLibrary(hsm.lib)
    library.module.C_Finalize()
    library.module.C_Initialize()
    expect(await seal.decrypt(envelope)).toEqual(plaintext)
    library.release()
  })
})

test.each([
  [{ lib: '/nowhere/lib.so' }, '/nowhere/lib.so cannot be used'],
  [{ tokenLabel: undefined }, 'slot or token label'],
  [{ pin: '' }, 'PIN'],
  [{ keyLabel: '' }, 'key label or key id'],
  [{ keyLabel: 'x'.repeat(256) }, '255 bytes'],
])('refuses %j', async (options, text) => {
  await expect(open(options as Partial<Pkcs11SealOptions>)).rejects.toMatchObject({
    code: 'SEAL_INVALID_CONFIG',
    message: expect.stringContaining(text),
  })
})
