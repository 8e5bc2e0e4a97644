import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ReplicationError } from '../errors.ts'
import type { WalRecord } from '../types.ts'
import { genesisCursor, nextDigest } from './cursor.ts'
import { decodeRecord, encodeRecord, RECORD_LIMITS } from './record-codec.ts'

const runs = { numRuns: process.env.SLOW ? 5000 : 300 }
const text = (minLength: number, maxLength: number) =>
  fc
    .string({ unit: 'binary', minLength, maxLength })
    .filter((each) => (each as { isWellFormed?(): boolean }).isWellFormed!())
const operation = fc.record({
  partition: fc.record({
    class: fc.constantFrom('replicated' as const, 'local' as const),
    mount: text(1, 40).filter((mount) => !mount.includes('/')),
  }),
  mountPath: text(0, 60),
  key: text(1, 80),
  value: fc.option(fc.uint8Array({ maxLength: 300 }), { nil: undefined }),
})
const record: fc.Arbitrary<WalRecord> = fc.record({
  epoch: fc.maxSafeNat(),
  index: fc.maxSafeNat(),
  operations: fc.array(operation, { maxLength: 8 }),
})

const plain = (value: WalRecord) => ({
  ...value,
  operations: value.operations.map((each) => ({ ...each, value: each.value && [...each.value] })),
})

function rejected(bytes: Uint8Array): boolean {
  try {
    // What decodes must be the one encoding of what it decodes to.
    return Buffer.compare(encodeRecord(decodeRecord(bytes)), bytes) !== 0
  } catch (error) {
    expect(error).toBeInstanceOf(ReplicationError)
    expect(error).toMatchObject({ code: 'REPLICATION_INVALID_RECORD' })
    return true
  }
}

test('round trip', () => {
  fc.assert(
    fc.property(record, (value) => {
      expect(plain(decodeRecord(encodeRecord(value)))).toEqual(plain(value))
    }),
    runs,
  )
})

test('every truncation and every extension is refused', () => {
  fc.assert(
    fc.property(record, fc.uint8Array({ minLength: 1, maxLength: 30 }), (value, tail) => {
      const bytes = encodeRecord(value)
      for (let length = 0; length < bytes.length; length++) expect(rejected(bytes.subarray(0, length))).toBe(true)
      expect(rejected(Buffer.concat([bytes, tail]))).toBe(true)
    }),
    { numRuns: process.env.SLOW ? 500 : 12 },
  )
})

test('damaged bytes are refused or are the encoding of another record, and never anything else', () => {
  fc.assert(
    fc.property(record, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, place, flip) => {
      const bytes = Buffer.from(encodeRecord(value))
      bytes[place % bytes.length]! ^= flip
      let decoded: WalRecord
      try {
        decoded = decodeRecord(bytes)
      } catch (error) {
        expect(error).toMatchObject({ code: 'REPLICATION_INVALID_RECORD' })
        return
      }
      expect(Buffer.compare(encodeRecord(decoded), bytes)).toBe(0)
    }),
    runs,
  )
})

test('random bytes are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, versioned) => {
      const input = Buffer.from(bytes)
      if (versioned && input.length > 0) input[0] = 1
      try {
        expect(Buffer.compare(encodeRecord(decodeRecord(input)), input)).toBe(0)
      } catch (error) {
        expect(error).toMatchObject({ code: 'REPLICATION_INVALID_RECORD' })
      }
    }),
    runs,
  )
})

test('a count that the bytes cannot hold is refused before anything is made of it', () => {
  const bytes = Buffer.from(encodeRecord({ epoch: 1, index: 1, operations: [] }))
  bytes.writeUInt32BE(RECORD_LIMITS.operations, 17)
  expect(rejected(bytes)).toBe(true)
  bytes.writeUInt32BE(0xffffffff, 17)
  expect(rejected(bytes)).toBe(true)
})

test('refuses to encode what it could not read back', () => {
  const one = (change: object) => ({
    epoch: 1,
    index: 1,
    operations: [
      { partition: { class: 'local' as const, mount: 'm' }, mountPath: '', key: 'k', value: undefined, ...change },
    ],
  })
  const refused = [
    one({ key: '' }),
    one({ key: 'k'.repeat(RECORD_LIMITS.keyBytes + 1) }),
    one({ key: '\ud800' }),
    one({ mountPath: 'p'.repeat(RECORD_LIMITS.mountPathBytes + 1) }),
    one({ partition: { class: 'local', mount: '' } }),
    one({ partition: { class: 'local', mount: 'a/b' } }),
    one({ value: new Uint8Array(RECORD_LIMITS.valueBytes + 1) }),
    { ...one({}), epoch: -1 },
    { ...one({}), index: 2 ** 53 },
    { ...one({}), index: 0.5 },
  ]
  for (const value of refused) {
    expect(() => encodeRecord(value)).toThrow(expect.objectContaining({ code: 'REPLICATION_INVALID_RECORD' }))
  }
  expect(() => encodeRecord(one({}))).not.toThrow()
})

test('known bytes and digests: changing them is a change of format', () => {
  const bytes = encodeRecord({
    epoch: 2,
    index: 2 ** 40 + 5,
    operations: [
      { partition: { class: 'replicated', mount: 'core' }, mountPath: '', key: 'ключ', value: Uint8Array.of(1, 2) },
      { partition: { class: 'local', mount: 'm' }, mountPath: 'secret/', key: 'k', value: undefined },
    ],
  })
  const hex = (each: Uint8Array) => Buffer.from(each).toString('hex')
  const genesis = genesisCursor(Uint8Array.of(7))
  expect({
    bytes: hex(bytes),
    genesis: hex(genesis.digest),
    next: hex(nextDigest(genesis.digest, bytes)),
  }).toMatchInlineSnapshot(`
    {
      "bytes": "010000000000000002000001000000000500000002020004636f7265000000000008d0bad0bbd18ed1870000000201020100016d00077365637265742f000000016b",
      "genesis": "66d87472b8554d732248edd8934c27faf8c83536743ca2f740630d5290cebed8",
      "next": "f1c091627ada8d3e9bd6c6a94ab78df6ad7eee2adb8cc865e7150f04037b9f00",
    }
  `)
})

test('digests tell histories apart', () => {
  const a = encodeRecord({ epoch: 1, index: 1, operations: [] })
  const b = encodeRecord({ epoch: 1, index: 2, operations: [] })
  const start = genesisCursor().digest
  const hex = (each: Uint8Array) => Buffer.from(each).toString('hex')
  const seen = [
    start,
    genesisCursor(Uint8Array.of(1)).digest,
    nextDigest(start, a),
    nextDigest(start, b),
    nextDigest(nextDigest(start, a), b),
    nextDigest(nextDigest(start, b), a),
  ]
  expect(new Set(seen.map(hex)).size).toBe(seen.length)
})
