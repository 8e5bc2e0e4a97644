export type BootstrapErrorCode =
  /** A cluster or secondary id that cannot stand in a certificate name. */
  | 'BOOTSTRAP_INVALID_ID'
  | 'BOOTSTRAP_INVALID_LIFETIME'
  | 'BOOTSTRAP_INVALID_CERTIFICATE'
  | 'BOOTSTRAP_INVALID_KEY'
  | 'BOOTSTRAP_INVALID_PACKAGE'
  /** Not a JWT, wrong algorithm, bad signature, missing or malformed claim. */
  | 'BOOTSTRAP_INVALID_TOKEN'
  | 'BOOTSTRAP_TOKEN_EXPIRED'
  /** A certificate that is not, or no longer, allowed to connect. */
  | 'BOOTSTRAP_PEER_REFUSED'

/** Every error this package throws. Messages never hold key material or tokens. */
export class BootstrapError extends Error {
  override readonly name = 'BootstrapError'
  readonly code: BootstrapErrorCode
  constructor(code: BootstrapErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
