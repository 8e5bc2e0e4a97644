import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { combineKey, rekey, type ShareConfig, splitKey } from './index.ts'

const key = (): Uint8Array => new Uint8Array(randomBytes(32))
const config = (secretShares: number, secretThreshold: number): ShareConfig => ({ secretShares, secretThreshold })
const invalidShares = expect.objectContaining({ code: 'SEAL_INVALID_SHARES' })

describe('splitKey and combineKey', () => {
  test('one share is the key itself', () => {
    const secret = key()
    const shares = splitKey(secret, config(1, 1))
    expect(shares).toEqual([secret])
    expect(shares[0]).not.toBe(secret)
    expect(combineKey(shares, config(1, 1))).toEqual(secret)
  })

  test('several shares', () => {
    const secret = key()
    const shares = splitKey(secret, config(5, 3))
    expect(combineKey(shares.slice(2), config(5, 3))).toEqual(secret)
    expect(() => combineKey(shares.slice(3), config(5, 3))).toThrow(invalidShares)
  })

  test.each([
    [0, 1, 'shares must be at least one'],
    [256, 2, 'shares must be less than 256'],
    [3, 0, 'threshold must be at least one'],
    [3, 4, 'threshold cannot be larger than shares'],
    [3, 1, 'threshold must be greater than one for multiple shares'],
  ])('refuses %d shares with a threshold of %d', (shares, threshold, message) => {
    expect(() => splitKey(key(), config(shares, threshold))).toThrow(
      expect.objectContaining({ code: 'SEAL_INVALID_CONFIG', message }),
    )
  })
})

describe('rekey', () => {
  test.each([
    [config(5, 3), config(7, 4)],
    [config(1, 1), config(3, 2)],
    [config(3, 2), config(1, 1)],
  ])('moves from %o to %o', (current, next) => {
    const secret = key()
    const shares = splitKey(secret, current).slice(0, current.secretThreshold)
    const fresh = rekey({ shares, current, next, key: secret })
    expect(fresh.length).toBe(next.secretShares)
    expect(combineKey(fresh.slice(0, next.secretThreshold), next)).toEqual(secret)
  })

  test('hands out shares of another key on request', () => {
    const secret = key()
    const nextKey = key()
    const shares = splitKey(secret, config(3, 2))
    const fresh = rekey({ shares, current: config(3, 2), next: config(3, 2), key: secret, nextKey })
    expect(combineKey(fresh, config(3, 2))).toEqual(nextKey)
  })

  test('refuses shares that do not make the current key', () => {
    const secret = key()
    const current = config(3, 2)
    const mixed = [splitKey(secret, current)[0]!, ...splitKey(key(), current)].filter(
      (share, index, all) => all.findIndex((other) => other[32] === share[32]) === index,
    )
    const wrong = { shares: mixed.slice(0, 2), current, next: config(5, 3) }
    expect(() => rekey({ ...wrong, key: secret })).toThrow(invalidShares)
    expect(() => rekey({ ...wrong, key: () => false })).toThrow(invalidShares)
  })

  test('a check may stand in for the key, and sees a candidate that is wiped afterwards', () => {
    const secret = key()
    const current = config(3, 2)
    let seen: Uint8Array | undefined
    rekey({
      shares: splitKey(secret, current),
      current,
      next: current,
      key: (candidate) => {
        seen = candidate
        return Buffer.from(candidate).equals(secret)
      },
    })
    expect(seen).toEqual(new Uint8Array(32))
  })
})

// `slice` of a Buffer is a view: zeroising the key afterwards would destroy the only share.
test('the single share of a Buffer is a copy', () => {
  const key = Buffer.alloc(32, 7)
  const [share] = splitKey(key, { secretShares: 1, secretThreshold: 1 })
  key.fill(0)
  expect(share).toEqual(new Uint8Array(32).fill(7))
  const given = Buffer.alloc(32, 9)
  const combined = combineKey([given], { secretShares: 1, secretThreshold: 1 })
  given.fill(0)
  expect(combined).toEqual(new Uint8Array(32).fill(9))
})
