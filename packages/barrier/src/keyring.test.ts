import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  createKeyring,
  DEFAULT_ROTATION,
  deserializeKeyring,
  type Keyring,
  MAX_ENCRYPTIONS_PER_KEY,
  nobleAead,
  openKeyring,
  RECORD_OVERHEAD,
  recordTerm,
} from './index.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const refused = expect.objectContaining({
  code: 'BARRIER_DECRYPTION_FAILED',
  message: 'the record cannot be decrypted',
})

function reopened(keyring: Keyring): Keyring {
  return openKeyring(keyring.rootKey(), keyring.encrypt())
}

describe('records', () => {
  test('have the documented layout', () => {
    const record = createKeyring().seal('logical/a', text('value'))
    expect([...record.subarray(0, 5)]).toEqual([0, 0, 0, 1, 2])
    expect(record.length).toBe(RECORD_OVERHEAD + 5)
    expect(RECORD_OVERHEAD).toBe(4 + 1 + 12 + 16)
  })

  test('nonces differ', () => {
    const keyring = createKeyring()
    const nonces = Array.from({ length: 1000 }, () =>
      Buffer.from(keyring.seal('k', text('v')).slice(5, 17)).toString('hex'),
    )
    expect(new Set(nonces).size).toBe(1000)
  })

  test('round-trip across rotations and both providers', () => {
    fc.assert(
      fc.property(fc.string(), fc.uint8Array(), fc.nat(3), (path, value, rotations) => {
        const keyring = createKeyring()
        const old = keyring.seal(path, value)
        for (let i = 0; i < rotations; i++) keyring.rotate()
        const recent = keyring.seal(path, value)
        expect(recordTerm(old)).toBe(1)
        expect(recordTerm(recent)).toBe(rotations + 1)
        const other = openKeyring(keyring.rootKey(), keyring.encrypt(), { aead: nobleAead() })
        for (const reader of [keyring, other]) {
          expect([...reader.open(path, old)]).toEqual([...value])
          expect([...reader.open(path, recent)]).toEqual([...value])
        }
      }),
      { numRuns: 50 },
    )
  })

  test('altered, truncated, extended, moved or foreign records are refused with one message', () => {
    const keyring = createKeyring()
    const record = keyring.seal('logical/a', text('value'))
    for (let bit = 0; bit < record.length * 8; bit++) {
      const altered = record.slice()
      altered[bit >> 3]! ^= 1 << (bit & 7)
      expect(() => keyring.open('logical/a', altered)).toThrow(refused)
    }
    for (let length = 0; length < record.length; length++) {
      expect(() => keyring.open('logical/a', record.subarray(0, length))).toThrow(refused)
    }
    expect(() => keyring.open('logical/a', new Uint8Array([...record, 0]))).toThrow(refused)
    expect(() => keyring.open('logical/b', record)).toThrow(refused)
    expect(() => createKeyring().open('logical/a', record)).toThrow(refused)
  })

  test('terms are unsigned 32-bit', () => {
    const json = JSON.parse(new TextDecoder().decode(createKeyring().serialize()))
    json.Keys[0].Term = 0xffff_ffff
    const keyring = deserializeKeyring(text(JSON.stringify(json)))
    const record = keyring.seal('k', text('v'))
    expect([...record.subarray(0, 4)]).toEqual([255, 255, 255, 255])
    expect(new TextDecoder().decode(keyring.open('k', record))).toBe('v')
    expect(() => keyring.rotate()).toThrow(expect.objectContaining({ code: 'BARRIER_KEY_EXHAUSTED' }))
  })
})

describe('the keyring', () => {
  test('is stored under the root key, at its own path only', () => {
    const keyring = createKeyring()
    keyring.rotate()
    const sealed = keyring.seal('k', text('v'))
    const stored = keyring.encrypt()
    expect([...stored.subarray(0, 5)]).toEqual([0, 0, 0, 1, 2])
    expect(new TextDecoder().decode(openKeyring(keyring.rootKey(), stored).open('k', sealed))).toBe('v')
    expect(() => openKeyring(new Uint8Array(32), stored)).toThrow(refused)
    expect(() => keyring.open('core/keyring', stored)).toThrow(refused)
  })

  test('has the shape of Vault', () => {
    const json = JSON.parse(new TextDecoder().decode(createKeyring({ now: () => 0 }).serialize()))
    expect(json).toEqual({
      MasterKey: expect.stringMatching(/^[A-Za-z0-9+/]{43}=$/),
      Keys: [
        {
          Term: 1,
          Version: 1,
          Value: expect.stringMatching(/^[A-Za-z0-9+/]{43}=$/),
          InstallTime: '1970-01-01T00:00:00.000Z',
          encryptions: 0,
        },
      ],
      RotationConfig: { Disabled: false, MaxOperations: 3_865_470_566, Interval: 0 },
    })
  })

  test('reads a keyring as Vault writes it', () => {
    const value = Buffer.alloc(32, 7).toString('base64')
    const keyring = deserializeKeyring(
      text(
        JSON.stringify({
          MasterKey: value,
          Keys: [
            { Term: 2, Version: 1, Value: value, InstallTime: '2024-03-13T10:00:00.123456789Z', encryptions: 9 },
            { Term: 1, Version: 1, Value: value, InstallTime: '2023-03-13T10:00:00+01:00' },
          ],
          RotationConfig: { Disabled: true, MaxOperations: 2_000_000, Interval: 86_400_000_000_000 },
        }),
      ),
    )
    expect(keyring.activeTerm).toBe(2)
    expect(keyring.terms().map(({ term, encryptions }) => [term, encryptions])).toEqual([
      [1, 0],
      [2, 9],
    ])
    expect(keyring.rotation).toEqual({ enabled: false, maxOperations: 2_000_000, intervalMs: 86_400_000 })
  })

  test.each([
    'not json',
    '[]',
    '{}',
    '{"MasterKey":"AAAA","Keys":[]}',
    JSON.stringify({ MasterKey: Buffer.alloc(32).toString('base64'), Keys: [] }),
    JSON.stringify({
      MasterKey: Buffer.alloc(32).toString('base64'),
      Keys: [{ Term: 1, Value: 'AAAA', InstallTime: '2024-01-01T00:00:00Z' }],
    }),
    JSON.stringify({
      MasterKey: Buffer.alloc(32).toString('base64'),
      Keys: [1, 1].map((Term) => ({
        Term,
        Value: Buffer.alloc(32).toString('base64'),
        InstallTime: '2024-01-01T00:00:00Z',
      })),
    }),
  ])('refuses the form %s', (json) => {
    expect(() => deserializeKeyring(text(json))).toThrow(expect.objectContaining({ code: 'BARRIER_INVALID_KEYRING' }))
  })

  test('keeps counts, times, rotation settings and root key when stored', () => {
    let time = 1_700_000_000_000
    const keyring = createKeyring({ now: () => time })
    keyring.seal('a', text('1'))
    time += 1000
    keyring.rotate()
    keyring.seal('a', text('1'))
    keyring.seal('a', text('1'))
    keyring.configureRotation({ maxOperations: 5, intervalMs: 60_000 })
    const again = reopened(keyring)
    expect(again.terms()).toEqual([
      { term: 1, installTime: 1_700_000_000_000, encryptions: 1 },
      { term: 2, installTime: 1_700_000_001_000, encryptions: 2 },
    ])
    expect(again.rotation).toEqual({ enabled: true, maxOperations: 5, intervalMs: 60_000 })
    expect(again.hasRootKey(keyring.rootKey())).toBe(true)
    expect(again.hasRootKey(new Uint8Array(32))).toBe(false)
    expect(again.hasRootKey(new Uint8Array(31))).toBe(false)
  })

  test('asks for rotation at its allowance or age, and never when switched off', () => {
    let time = 0
    const keyring = createKeyring({ now: () => time })
    expect(keyring.rotation).toEqual(DEFAULT_ROTATION)
    keyring.countEncryptions(1, 3_865_470_565)
    expect(keyring.needsRotation).toBe(false)
    keyring.seal('k', text('v'))
    expect(keyring.needsRotation).toBe(true)
    keyring.rotate()
    expect(keyring.needsRotation).toBe(false)
    keyring.configureRotation({ intervalMs: 1000 })
    time = 999
    expect(keyring.needsRotation).toBe(false)
    time = 1000
    expect(keyring.needsRotation).toBe(true)
    keyring.configureRotation({ enabled: false })
    expect(keyring.needsRotation).toBe(false)
  })

  test('refuses to encrypt beyond 2^32 times under one key', () => {
    const keyring = createKeyring()
    keyring.countEncryptions(1, MAX_ENCRYPTIONS_PER_KEY - 1)
    const last = keyring.seal('k', text('v'))
    expect(() => keyring.seal('k', text('v'))).toThrow(expect.objectContaining({ code: 'BARRIER_KEY_EXHAUSTED' }))
    expect(keyring.open('k', last)).toEqual(text('v'))
    keyring.rotate()
    expect(recordTerm(keyring.seal('k', text('v')))).toBe(2)
  })

  test('a clone rotates alone', () => {
    const keyring = createKeyring()
    const record = keyring.seal('k', text('v'))
    const next = keyring.clone()
    next.rotate()
    expect(keyring.activeTerm).toBe(1)
    expect(() => keyring.open('k', next.seal('k', text('v')))).toThrow(refused)
    keyring.close()
    expect(next.open('k', record)).toEqual(text('v'))
  })

  test('a new root key leaves the data keys alone', () => {
    const keyring = createKeyring()
    const record = keyring.seal('k', text('v'))
    const old = keyring.rootKey()
    const rootKey = new Uint8Array(32).fill(9)
    keyring.replaceRootKey(rootKey)
    rootKey.fill(0)
    const stored = keyring.encrypt()
    expect(() => openKeyring(old, stored)).toThrow(refused)
    expect(openKeyring(new Uint8Array(32).fill(9), stored).open('k', record)).toEqual(text('v'))
    expect(() => keyring.replaceRootKey(new Uint8Array(31))).toThrow(
      expect.objectContaining({ code: 'BARRIER_INVALID_KEY' }),
    )
  })

  test('closing overwrites the keys and stops every use', () => {
    const sealedWith: Uint8Array[] = []
    const node = nobleAead()
    const keyring = createKeyring({
      aead: {
        seal(key, ...rest) {
          sealedWith.push(key)
          return node.seal(key, ...rest)
        },
        open: node.open,
      },
    })
    const record = keyring.seal('k', text('v'))
    keyring.encrypt()
    expect(sealedWith.every((key) => key.some((byte) => byte !== 0))).toBe(true)
    keyring.close()
    keyring.close()
    expect(sealedWith.length).toBe(2)
    expect(sealedWith.every((key) => key.every((byte) => byte === 0))).toBe(true)
    const closed = expect.objectContaining({ code: 'BARRIER_CLOSED' })
    expect(() => keyring.seal('k', text('v'))).toThrow(closed)
    expect(() => keyring.open('k', record)).toThrow(closed)
    expect(() => keyring.encrypt()).toThrow(closed)
    expect(() => keyring.rootKey()).toThrow(closed)
  })
})
