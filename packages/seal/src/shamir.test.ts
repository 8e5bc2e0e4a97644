import { createDecipheriv } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { combine, split } from './index.ts'

const invalidShares = expect.objectContaining({ code: 'SEAL_INVALID_SHARES' })
const invalidConfig = expect.objectContaining({ code: 'SEAL_INVALID_CONFIG' })

describe('split and combine', () => {
  const config = fc.integer({ min: 2, max: 12 }).chain((threshold) =>
    fc.record({
      threshold: fc.constant(threshold),
      shares: fc.integer({ min: threshold, max: 20 }),
      secret: fc.uint8Array({ minLength: 1, maxLength: 40 }),
      order: fc.infiniteStream(fc.nat(1000)),
    }),
  )

  test('any threshold of the shares, in any order, give the secret', () => {
    fc.assert(
      fc.property(config, ({ threshold, shares, secret, order }) => {
        const all = split(secret, shares, threshold)
        expect(all.length).toBe(shares)
        const chosen = shuffled(all, order)
        for (const count of [threshold, shares]) expect([...combine(chosen.slice(0, count))]).toEqual([...secret])
      }),
      { numRuns: 60 },
    )
  })

  test('one share fewer gives something else', () => {
    const secret = new Uint8Array(32).fill(7)
    for (let threshold = 3; threshold < 8; threshold++) {
      const shares = split(secret, 8, threshold)
      expect([...combine(shares.slice(0, threshold - 1))]).not.toEqual([...secret])
    }
  })

  test('shares are the secret length and one coordinate byte, all different and none 0', () => {
    const shares = split(new Uint8Array(32), 255, 255)
    expect(shares.every((share) => share.length === 33)).toBe(true)
    const xs = shares.map((share) => share[32]!)
    expect(xs.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 255 }, (_, index) => index + 1))
  })

  test('a single share is uniformly distributed whatever the secret', () => {
    const seen = new Set<number>()
    for (let i = 0; i < 4000; i++) seen.add(split(Uint8Array.of(42), 2, 2)[0]![0]!)
    expect(seen.size).toBe(256)
  })

  test('a lying share is not noticed here, but changes the result', () => {
    const secret = new Uint8Array(32).fill(7)
    const shares = split(secret, 3, 2)
    shares[0]![0]! ^= 1
    expect([...combine(shares.slice(0, 2))]).not.toEqual([...secret])
  })

  test.each([
    [1, 1],
    [0, 0],
    [256, 2],
    [3, 1],
    [3, 4],
    [2.5, 2],
    [Number.NaN, 2],
  ])('refuses %d shares with a threshold of %d', (shares, threshold) => {
    expect(() => split(new Uint8Array(32), shares, threshold)).toThrow(invalidConfig)
  })

  test('refuses an empty and an oversized secret', () => {
    expect(() => split(new Uint8Array(0), 3, 2)).toThrow(invalidConfig)
    expect(() => split(new Uint8Array(64 * 1024 + 1), 3, 2)).toThrow(invalidConfig)
  })

  test.each<[string, Uint8Array[]]>([
    ['no share', []],
    ['one share', [Uint8Array.of(1, 2)]],
    ['empty shares', [new Uint8Array(0), new Uint8Array(0)]],
    ['shares without content', [Uint8Array.of(1), Uint8Array.of(2)]],
    ['different lengths', [Uint8Array.of(1, 2), Uint8Array.of(1, 1, 3)]],
    ['one coordinate twice', [Uint8Array.of(1, 2), Uint8Array.of(9, 2)]],
    ['the coordinate 0', [Uint8Array.of(1, 0), Uint8Array.of(9, 2)]],
    ['too many shares', Array.from({ length: 256 }, (_, index) => Uint8Array.of(1, index))],
  ])('combine refuses %s', (_name, shares) => {
    expect(() => combine(shares)).toThrow(invalidShares)
  })
})

describe('interoperation', () => {
  test('worked example: s + 3x over GF(2^8)', () => {
    // f(1) = 0x42 ^ 3, f(2) = 0x42 ^ 6, f(3) = 0x42 ^ 5 (3 * 3 = 5).
    const shares = [Uint8Array.of(0x41, 1), Uint8Array.of(0x44, 2), Uint8Array.of(0x47, 3)]
    expect([...combine(shares.slice(0, 2))]).toEqual([0x42])
    expect([...combine(shares.slice(1))]).toEqual([0x42])
    expect([...combine([shares[2]!, shares[0]!])]).toEqual([0x42])
  })

  test('every three of the five shares of a real OpenBao open its stored root key', () => {
    const vector: { shares: string[]; storedRootKey: string; rootKey: string } = JSON.parse(
      readFileSync(new URL('../vectors/openbao-shares.json', import.meta.url), 'utf8'),
    )
    const shares = vector.shares.map((share) => new Uint8Array(Buffer.from(share, 'base64')))
    const stored = Buffer.from(vector.storedRootKey, 'base64')
    let subsets = 0
    for (let a = 0; a < 5; a++) {
      for (let b = a + 1; b < 5; b++) {
        for (let c = b + 1; c < 5; c++) {
          const kek = combine([shares[a]!, shares[b]!, shares[c]!])
          const decipher = createDecipheriv('aes-256-gcm', kek, stored.subarray(0, 12))
          decipher.setAuthTag(stored.subarray(-16))
          const json = Buffer.concat([decipher.update(stored.subarray(12, -16)), decipher.final()]).toString()
          expect(JSON.parse(json)).toEqual([vector.rootKey])
          subsets++
        }
      }
    }
    expect(subsets).toBe(10)
  })
})

function shuffled<T>(items: readonly T[], order: Iterator<number>): T[] {
  return items
    .map((item) => ({ item, rank: order.next().value as number }))
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ item }) => item)
}
