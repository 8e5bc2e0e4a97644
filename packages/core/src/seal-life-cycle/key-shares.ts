/** Collects key shares from operators until a threshold is reached, for unsealing and for generating tokens. */
import { randomUUID, timingSafeEqual } from 'node:crypto'
import { combineKey } from '@lockstep/seal'
import { CoreError } from '../contracts.ts'

export interface ShareCounts {
  shares: number
  threshold: number
}

export interface KeyShares {
  readonly progress: number
  /** "" while no share was given. */
  readonly nonce: string
  /**
   * Adds a share, which it takes over; the combined key once the threshold of distinct shares are there (progress then starts again
   * at 0). Throws CORE_INVALID_REQUEST when they do not combine.
   */
  add(share: Uint8Array, config: ShareCounts): Uint8Array | undefined
  has(share: Uint8Array): boolean
  reset(): void
}

export function keyShares(): KeyShares {
  let shares: Uint8Array[] = []
  let nonce = ''
  const reset = (): void => {
    for (const share of shares) share.fill(0)
    shares = []
    nonce = ''
  }
  const has = (share: Uint8Array): boolean =>
    shares.some((other) => other.length === share.length && timingSafeEqual(other, share))
  return {
    get progress() {
      return shares.length
    },
    get nonce() {
      return nonce
    },
    reset,
    has,
    add(share, { shares: secretShares, threshold: secretThreshold }) {
      if (nonce === '') nonce = randomUUID()
      if (has(share)) share.fill(0)
      else shares.push(share)
      if (shares.length < secretThreshold) return undefined
      try {
        return combineKey(shares, { secretShares, secretThreshold })
      } catch (cause) {
        throw new CoreError('CORE_INVALID_REQUEST', 'unseal failed, invalid key', { cause })
      } finally {
        reset()
      }
    },
  }
}

/** A share as clients send it: hex or base64. */
export function decodeShare(text: unknown): Uint8Array {
  if (typeof text === 'string' && text.length > 0 && text.length <= 1024) {
    if (/^(?:[0-9a-f]{2})+$/i.test(text)) return Buffer.from(text, 'hex')
    if (/^[A-Za-z0-9+/]+={0,2}$/.test(text) && text.length % 4 === 0) return Buffer.from(text, 'base64')
  }
  throw new CoreError('CORE_INVALID_REQUEST', "'key' must be a valid hex or base64 string")
}
