import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { autoSealCompliance } from './compliance/index.ts'
import { sealAfterReplication, staticKeySeal } from './index.ts'

const key = (): Uint8Array => new Uint8Array(randomBytes(32))
const text = (value: string): Uint8Array => new TextEncoder().encode(value)

autoSealCompliance({ test, factory: () => staticKeySeal({ keyId: '2026-1', key: key() }) })
describe('with a previous key', () => {
  autoSealCompliance({
    test,
    factory: () => staticKeySeal({ keyId: 'b', key: key(), previousKeyId: 'a', previousKey: key() }),
  })
})

describe('staticKeySeal', () => {
  test('opens envelopes of the previous key, and encrypts with the current one', async () => {
    const [old, current] = [key(), key()]
    const before = staticKeySeal({ keyId: 'old', key: old })
    const after = staticKeySeal({ keyId: 'new', key: current, previousKeyId: 'old', previousKey: old })
    expect(await after.decrypt(await before.encrypt(text('root key')))).toEqual(text('root key'))
    const later = staticKeySeal({ keyId: 'new', key: current })
    expect(await later.decrypt(await after.encrypt(text('root key')))).toEqual(text('root key'))
    await expect(before.decrypt(await after.encrypt(text('x')))).rejects.toMatchObject({ code: 'SEAL_UNKNOWN_KEY' })
  })

  test('the key id is authenticated', async () => {
    const shared = key()
    const a = staticKeySeal({ keyId: 'a', key: shared })
    const b = staticKeySeal({ keyId: 'b', key: shared })
    const envelope = await a.encrypt(text('x'))
    envelope[2] = 'b'.charCodeAt(0)
    await expect(b.decrypt(envelope)).rejects.toMatchObject({ code: 'SEAL_DECRYPTION_FAILED' })
  })

  test('keeps a copy of the key, and forgets it on close', async () => {
    const given = key()
    const seal = staticKeySeal({ keyId: 'a', key: given })
    const envelope = await seal.encrypt(text('x'))
    given.fill(0)
    expect(await seal.decrypt(envelope)).toEqual(text('x'))
    seal.close()
    await expect(seal.decrypt(envelope)).rejects.toMatchObject({ code: 'SEAL_UNKNOWN_KEY' })
    await expect(seal.encrypt(text('x'))).rejects.toMatchObject({ code: 'SEAL_UNKNOWN_KEY' })
  })

  test('refuses bad keys and ids', () => {
    const same = key()
    const bad = [
      { keyId: '', key: key() },
      { keyId: 'x'.repeat(129), key: key() },
      { keyId: 'a', key: new Uint8Array(16) },
      { keyId: 'a', key: key(), previousKeyId: 'b' },
      { keyId: 'a', key: key(), previousKey: key() },
      { keyId: 'a', key: key(), previousKeyId: 'a', previousKey: key() },
      { keyId: 'a', key: same, previousKeyId: 'b', previousKey: same },
      { keyId: 'a', key: key(), previousKeyId: 'b', previousKey: new Uint8Array(31) },
    ]
    for (const options of bad) {
      expect(() => staticKeySeal(options)).toThrow(expect.objectContaining({ code: 'SEAL_INVALID_KEY' }))
    }
  })
})

test('the seal matrix of replication', () => {
  expect(sealAfterReplication('shamir', 'shamir')).toEqual({ unseal: 'primary-seal', recovery: 'none' })
  expect(sealAfterReplication('shamir', 'auto')).toEqual({ unseal: 'own-auto-seal', recovery: 'primary-seal' })
  expect(sealAfterReplication('auto', 'auto')).toEqual({ unseal: 'own-auto-seal', recovery: 'primary-recovery' })
  expect(sealAfterReplication('auto', 'shamir')).toEqual({ unseal: 'primary-recovery', recovery: 'none' })
})
