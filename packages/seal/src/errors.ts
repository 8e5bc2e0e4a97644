export type SealErrorCode =
  | 'SEAL_INVALID_CONFIG'
  /** A share of the wrong length, two shares with one coordinate, or too few of them. */
  | 'SEAL_INVALID_SHARES'
  | 'SEAL_INVALID_KEY'
  /** The envelope names a key this seal does not hold. */
  | 'SEAL_UNKNOWN_KEY'
  | 'SEAL_DECRYPTION_FAILED'
  /** Whoever has the key cannot be reached, or refuses for now: trying again later may help. */
  | 'SEAL_UNAVAILABLE'

/** Every error of this package. Messages hold no key, share or plaintext. */
export class SealError extends Error {
  override readonly name = 'SealError'
  readonly code: SealErrorCode
  constructor(code: SealErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
