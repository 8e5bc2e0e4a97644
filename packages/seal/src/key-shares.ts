/** A key held by several people: the configuration, splitting by it, and moving to another one. */
import { timingSafeEqual } from 'node:crypto'
import { SealError } from './errors.ts'
import { combine, split } from './shamir.ts'

/** Also the recovery configuration of an auto seal. */
export interface ShareConfig {
  /** 1 to 255. */
  secretShares: number
  /** 2 to `secretShares`, or 1 when there is a single share. */
  secretThreshold: number
}

/** Throws `SEAL_INVALID_CONFIG`. */
export function checkShareConfig({ secretShares, secretThreshold }: ShareConfig): void {
  const fail = (message: string): never => {
    throw new SealError('SEAL_INVALID_CONFIG', message)
  }
  if (!Number.isInteger(secretShares) || secretShares < 1) fail('shares must be at least one')
  if (secretShares > 255) fail('shares must be less than 256')
  if (!Number.isInteger(secretThreshold) || secretThreshold < 1) fail('threshold must be at least one')
  if (secretThreshold > secretShares) fail('threshold cannot be larger than shares')
  if (secretShares > 1 && secretThreshold === 1) fail('threshold must be greater than one for multiple shares')
}

/** Shares of the key; with one share, that is a copy of the key itself. */
export function splitKey(key: Uint8Array, config: ShareConfig): Uint8Array[] {
  checkShareConfig(config)
  return config.secretShares === 1 ? [new Uint8Array(key)] : split(key, config.secretShares, config.secretThreshold)
}

/** Needs exactly the threshold, or more, of the shares. Only the caller can tell whether they were the right ones. */
export function combineKey(shares: readonly Uint8Array[], config: ShareConfig): Uint8Array {
  checkShareConfig(config)
  if (shares.length < config.secretThreshold) throw new SealError('SEAL_INVALID_SHARES', 'more shares are needed')
  if (config.secretShares > 1) return combine(shares)
  if (shares.length !== 1) throw new SealError('SEAL_INVALID_SHARES', 'this key has one share only')
  return new Uint8Array(shares[0]!)
}

export interface RekeyInput {
  /** Shares of the current key; at least its threshold. */
  shares: readonly Uint8Array[]
  current: ShareConfig
  next: ShareConfig
  /** The current key, or a function that says whether a candidate is it. Compared in constant time. */
  key: Uint8Array | ((candidate: Uint8Array) => boolean)
  /** A key to share out from now on. Default: the current one, so that only the shares change. */
  nextKey?: Uint8Array
}

/**
 * New shares for a new configuration, handed out only against valid current ones. Throws `SEAL_INVALID_SHARES` when the given
 * shares do not make the current key. The old shares stay valid for the old key, so give a `nextKey` (and seal the root key
 * under it) whenever an old share may be in wrong hands.
 */
export function rekey(input: RekeyInput): Uint8Array[] {
  checkShareConfig(input.next)
  const candidate = combineKey(input.shares, input.current)
  try {
    const { key } = input
    const matches =
      typeof key === 'function' ? key(candidate) : candidate.length === key.length && timingSafeEqual(candidate, key)
    if (!matches) throw new SealError('SEAL_INVALID_SHARES', 'the shares do not make the current key')
    return splitKey(input.nextKey ?? candidate, input.next)
  } finally {
    candidate.fill(0)
  }
}
