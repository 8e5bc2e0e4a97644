/**
 * A seal that opens by itself: something outside (a key service, an HSM, a key file) encrypts the root key and the recovery
 * key. `autoSealCompliance` of `@lockstep/seal/compliance` checks an implementation.
 */
export interface AutoSeal {
  /** Name of the kind of seal, for instance `static` or `transit`. */
  readonly type: string
  /** Id of the key that `encrypt` uses now. Not secret. */
  readonly keyId: string
  /** An authenticated envelope. Encrypting twice gives different envelopes. */
  encrypt(plaintext: Uint8Array): Promise<Uint8Array>
  /**
   * Rejects with `SealError`: `SEAL_UNKNOWN_KEY` when the envelope names a key that is not to be had, and
   * `SEAL_DECRYPTION_FAILED` for one that is damaged in any way.
   */
  decrypt(envelope: Uint8Array): Promise<Uint8Array>
}
