import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { LogPlace } from '../contracts.ts'
import { comparePlaces, decodeIndexHeader, encodeIndexState, type IndexState, setName } from './index-state.ts'

const key = new Uint8Array(32).fill(7)
const place = fc.record({
  epoch: fc.integer({ min: 1, max: 18_446 }),
  index: fc.integer({ min: 0, max: 10 ** 15 - 1 }),
})
const name = fc.stringMatching(/^[0-9a-f-]{1,36}$/)
const state: fc.Arbitrary<IndexState> = fc.record({
  clusterId: name,
  logId: name,
  set: fc.oneof(fc.constant(''), name),
  local: place,
  replicated: place,
})

/** What Vault's Go client does with a state: split at colons, two unsigned 64-bit numbers, HMAC over what is before the last colon. */
function byVaultsClient(raw: string): { cluster: string; local: bigint; replicated: bigint } {
  const decoded = Buffer.from(raw, 'base64').toString()
  const split = decoded.lastIndexOf(':')
  const hmac = createHmac('sha256', key).update(decoded.slice(0, split)).digest('hex')
  if (hmac !== decoded.slice(split + 1)) throw new Error('HMAC')
  const pieces = decoded.slice(0, split).split(':')
  if (pieces.length !== 4 || pieces[0] !== 'v1' || pieces[1] === '') throw new Error('format')
  const [local, replicated] = pieces.slice(2).map(BigInt) as [bigint, bigint]
  for (const number of [local, replicated]) if (number >= 2n ** 64n) throw new Error('range')
  return { cluster: pieces[1]!, local, replicated }
}

test('what is encoded is decoded, also of several joined by commas', () => {
  fc.assert(
    fc.property(fc.array(state, { minLength: 1, maxLength: 8 }), (states) => {
      const header = states.map((one) => encodeIndexState(key, one)).join(', ')
      expect(decodeIndexHeader(key, header)).toEqual(states)
    }),
  )
})

test("Vault's client reads it, and its numbers grow as places do", () => {
  fc.assert(
    fc.property(state, place, (one, other) => {
      const parsed = byVaultsClient(encodeIndexState(key, one)!)
      expect(parsed.cluster).toBe([one.clusterId, one.logId, ...(one.set === '' ? [] : [one.set])].join('.'))
      const later = byVaultsClient(encodeIndexState(key, { ...one, local: other })!)
      const order = later.local === parsed.local ? 0 : later.local > parsed.local ? 1 : -1
      expect(order).toBe(comparePlaces(other, one.local))
    }),
  )
})

test('before the first promotion the numbers are the indexes of the logs', () => {
  const one = {
    clusterId: 'c',
    logId: 'l',
    set: '',
    local: { epoch: 1, index: 42 },
    replicated: { epoch: 1, index: 7 },
  }
  expect(byVaultsClient(encodeIndexState(key, one)!)).toEqual({ cluster: 'c.l', local: 42n, replicated: 7n })
  const promoted = { ...one, local: { epoch: 3, index: 42 } }
  expect(byVaultsClient(encodeIndexState(key, promoted)!).local).toBe(2_000_000_000_000_042n)
})

test.each<LogPlace>([
  { epoch: 18_447, index: 0 },
  { epoch: 0, index: 0 },
  { epoch: 1, index: 10 ** 15 },
])('a place that does not fit into 64 bits has no text: %j', (local) => {
  const replicated = { epoch: 1, index: 1 }
  expect(encodeIndexState(key, { clusterId: 'c', logId: 'l', set: '', local, replicated })).toBeUndefined()
})

test('any change of one byte is refused', () => {
  fc.assert(
    fc.property(state, fc.nat(), fc.integer({ min: 1, max: 255 }), (one, at, flip) => {
      const bytes = Buffer.from(encodeIndexState(key, one)!, 'base64')
      bytes[at % bytes.length]! ^= flip
      expect(() => decodeIndexHeader(key, bytes.toString('base64'))).toThrow('X-Vault-Index: state 1')
    }),
  )
})

test('another key is refused, without a word on what would be right', () => {
  const other = new Uint8Array(32).fill(8)
  const one = { clusterId: 'c', logId: 'l', set: '', local: { epoch: 1, index: 1 }, replicated: { epoch: 1, index: 1 } }
  const header = encodeIndexState(other, one)!
  expect(() => decodeIndexHeader(key, header)).toThrow(
    expect.objectContaining({
      code: 'CORE_INVALID_REQUEST',
      message: 'X-Vault-Index: state 1 was not made by this cluster or its replication set (HMAC mismatch)',
    }),
  )
})

const signed = (text: string): string =>
  Buffer.from(`${text}:${createHmac('sha256', key).update(text).digest('hex')}`).toString('base64')

test.each([
  'v2:c.l:1:1',
  'v1::1:1',
  'v1:c:1:1',
  'v1:.l:1:1',
  'v1:c.l.s.t:1:1',
  'v1:c.l:1',
  'v1:c.l:1:1:1',
  'v1:c.l:-1:1',
  'v1:c.l:01:1',
  'v1:c.l:1e3:1',
  'v1:c.l:1:',
  'v1:c.l:1:99999999999999999999',
  'v1:c.l:1:184467440737095516150',
])('signed and yet malformed: %s', (text) => {
  expect(() => decodeIndexHeader(key, signed(text))).toThrow('X-Vault-Index: state 1 is malformed')
})

test('arbitrary text never gets through, nor breaks anything', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.base64String(),
        fc.uint8Array().map((b) => Buffer.from(b).toString('base64')),
      ),
      (text) => {
        if (text.split(',').every((part) => part.trim() === '')) return
        expect(() => decodeIndexHeader(key, text)).toThrow(expect.objectContaining({ code: 'CORE_INVALID_REQUEST' }))
      },
    ),
  )
})

test('the number of states and the length are limited', () => {
  const one = signed('v1:c.l:1:1')
  expect(decodeIndexHeader(key, Array(8).fill(one).join(','))).toHaveLength(8)
  expect(() => decodeIndexHeader(key, Array(9).fill(one).join(','))).toThrow('at most 8 states')
  expect(() => decodeIndexHeader(key, 'A'.repeat(4097))).toThrow('at most 4096 characters')
  expect(decodeIndexHeader(key, ' , ')).toEqual([])
})

test('sets are told apart by the start of their id', () => {
  expect(setName('')).toBe('')
  expect(setName('1b2c3d4e-0000-4000-8000-000000000000')).toBe('1b2c3d4e')
})
