export type BarrierErrorCode =
  /** Unknown term, truncated, altered or moved record: all look the same. */
  | 'BARRIER_DECRYPTION_FAILED'
  | 'BARRIER_INVALID_KEY'
  | 'BARRIER_INVALID_KEYRING'
  /** The active key has reached the NIST SP 800-38D limit of 2^32 encryptions; rotate first. */
  | 'BARRIER_KEY_EXHAUSTED'
  | 'BARRIER_CLOSED'

/** Every error of this package. Messages hold no key, nonce or plaintext. */
export class BarrierError extends Error {
  override readonly name = 'BarrierError'
  readonly code: BarrierErrorCode
  constructor(code: BarrierErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** One message for every reason, so that an attacker learns nothing from it. */
export function decryptionFailed(): BarrierError {
  return new BarrierError('BARRIER_DECRYPTION_FAILED', 'the record cannot be decrypted')
}
