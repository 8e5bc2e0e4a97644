// A damaged or forged keyring: a keyring that can be written again, or the package's own error without key material in it.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BarrierError } from './errors.ts'
import { DEFAULT_ROTATION, decodeKeyring, encodeKeyring, type KeyringState } from './keyring-format.ts'

const runs = { numRuns: process.env.SLOW ? 20_000 : 500 }
const key = fc.uint8Array({ minLength: 32, maxLength: 32 })
const state: fc.Arbitrary<KeyringState> = fc.record({
  rootKey: key,
  keys: fc
    .uniqueArray(fc.tuple(fc.integer({ min: 1, max: 0xffff_ffff }), key), {
      minLength: 1,
      maxLength: 4,
      selector: ([term]) => term,
    })
    .map((keys) =>
      keys
        .sort(([a], [b]) => a - b)
        .map(([term, bytes]) => ({
          term,
          key: bytes,
          installTime: Date.parse('2026-11-23T12:00:00Z'),
          encryptions: term % 7,
        })),
    ),
  rotation: fc.constantFrom(DEFAULT_ROTATION, { enabled: false, maxOperations: 10, intervalMs: 5000 }),
})

function tried(bytes: Uint8Array): KeyringState | undefined {
  try {
    return decodeKeyring(bytes)
  } catch (error) {
    expect(error).toBeInstanceOf(BarrierError)
    expect((error as Error).message).toBe('the keyring is not in a known form')
    return undefined
  }
}

test('keyrings round trip', () => {
  fc.assert(
    fc.property(state, (value) => {
      expect(decodeKeyring(encodeKeyring(value))).toEqual(value)
    }),
    runs,
  )
})

test('changed bytes', () => {
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.boolean()), { maxLength: 4 })
  fc.assert(
    fc.property(state, changes, (value, list) => {
      let bytes = Buffer.from(encodeKeyring(value))
      for (const [place, byte, cut] of list) {
        if (cut && place % 8 === 0) bytes = bytes.subarray(0, place % (bytes.length + 1))
        else if (bytes.length > 0) bytes[place % bytes.length] = byte
      }
      const found = tried(bytes)
      if (found !== undefined)
        expect(decodeKeyring(encodeKeyring(found)).keys.map(({ term }) => term)).toEqual(
          found.keys.map(({ term }) => term),
        )
    }),
    runs,
  )
})

test('other JSON', () => {
  const field = fc.oneof(fc.jsonValue(), fc.constantFrom(-1, 1.5, 1e300, '', 'AAAA', null, [], {}))
  const entry = fc.record(
    { Term: fc.oneof(fc.nat(5), field), Value: field, InstallTime: field, encryptions: field },
    { requiredKeys: [] },
  )
  const json = fc.oneof(
    fc.jsonValue(),
    fc.record(
      { MasterKey: field, Keys: fc.oneof(fc.array(entry, { maxLength: 3 }), field), RotationConfig: field },
      { requiredKeys: [] },
    ),
  )
  fc.assert(
    fc.property(json, (value) => void tried(Buffer.from(JSON.stringify(value)))),
    runs,
  )
})
