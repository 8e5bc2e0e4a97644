/**
 * Shamir's secret sharing (Communications of the ACM 22, 1979), byte by byte over GF(2^8). A share is the polynomials'
 * values followed by one byte with the x coordinate, 1 to 255: the format of Vault and OpenBao.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { SealError } from './errors.ts'
import { invert, multiply } from './field.ts'

const MAX_SHARES = 255
/** Bounds the work that foreign input can cause; keys are 32 bytes. */
const MAX_SECRET_BYTES = 64 * 1024

/**
 * Any `threshold` of the `shares` give the secret back; fewer tell nothing of it. 2 <= threshold <= shares <= 255, secret of
 * 1 byte to 64 KiB. Throws `SEAL_INVALID_CONFIG`. A single share needs no sharing: see `splitKey`.
 */
export function split(secret: Uint8Array, shares: number, threshold: number): Uint8Array[] {
  if (!Number.isInteger(shares) || shares < 2 || shares > MAX_SHARES) {
    throw new SealError('SEAL_INVALID_CONFIG', 'shares must be from 2 to 255')
  }
  if (!Number.isInteger(threshold) || threshold < 2 || threshold > shares) {
    throw new SealError('SEAL_INVALID_CONFIG', 'threshold must be from 2 to the number of shares')
  }
  if (secret.length < 1 || secret.length > MAX_SECRET_BYTES) {
    throw new SealError('SEAL_INVALID_CONFIG', 'the secret must be from 1 byte to 64 KiB long')
  }
  const out = coordinates(shares).map((x) => {
    const share = new Uint8Array(secret.length + 1)
    share[secret.length] = x
    return share
  })
  // Coefficients of x^1 and up, for every byte of the secret.
  const coefficients = randomBytes(secret.length * (threshold - 1))
  for (let i = 0; i < secret.length; i++) {
    const first = i * (threshold - 1)
    for (const share of out) {
      const x = share[secret.length]!
      let y = 0
      for (let degree = threshold - 2; degree >= 0; degree--) y = multiply(y ^ coefficients[first + degree]!, x)
      share[i] = y ^ secret[i]!
    }
  }
  coefficients.fill(0)
  return out
}

/**
 * The secret of at least two shares. Too few, or shares of different secrets, give some other bytes: only the caller can
 * tell. Throws `SEAL_INVALID_SHARES` for lengths that differ and coordinates that repeat or are 0.
 */
export function combine(shares: readonly Uint8Array[]): Uint8Array {
  if (shares.length < 2 || shares.length > MAX_SHARES) throw invalid('from 2 to 255 shares are needed')
  const length = shares[0]!.length
  if (length < 2 || length > MAX_SECRET_BYTES + 1) throw invalid('a share must be at least 2 bytes long')
  if (shares.some((share) => share.length !== length)) throw invalid('shares must have one length')
  const xs = shares.map((share) => share[length - 1]!)
  if (xs.includes(0)) throw invalid('a share has no valid coordinate')
  if (new Set(xs).size !== xs.length) throw invalid('a share was given twice')

  const weights = xs.map((x, index) => weightAtZero(xs, x, index))
  const secret = new Uint8Array(length - 1)
  for (const [index, share] of shares.entries()) {
    for (let i = 0; i < secret.length; i++) secret[i]! ^= multiply(weights[index]!, share[i]!)
  }
  return secret
}

/** Lagrange's basis polynomial of one coordinate at x = 0. */
function weightAtZero(xs: readonly number[], x: number, index: number): number {
  let weight = 1
  for (const [other, otherX] of xs.entries()) {
    if (other !== index) weight = multiply(weight, multiply(otherX, invert(otherX ^ x)))
  }
  return weight
}

/** Distinct random coordinates: the first `count` of a Fisher-Yates shuffle of 1 to 255. */
function coordinates(count: number): number[] {
  const all = Array.from({ length: MAX_SHARES }, (_, index) => index + 1)
  for (let i = 0; i < count; i++) {
    const j = randomInt(i, MAX_SHARES)
    const chosen = all[j]!
    all[j] = all[i]!
    all[i] = chosen
  }
  return all.slice(0, count)
}

function invalid(message: string): SealError {
  return new SealError('SEAL_INVALID_SHARES', message)
}
