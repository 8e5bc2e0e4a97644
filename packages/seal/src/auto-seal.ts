/**
 * A seal that opens by itself: something outside (a key service, an HSM, a key file) encrypts the root key and the recovery
 * key. `autoSealCompliance` of `@lockstep/seal/compliance` checks an implementation.
 */
export interface AutoSeal {
  /** Name of the kind of seal, for instance `static` or `transit`. */
  readonly type: string
  /**
   * Id of the key that `encrypt` uses, as far as is known: it moves when the key is rotated where it is kept. Not secret.
   */
  readonly keyId: string
  /**
   * An authenticated envelope. Encrypting twice gives different envelopes. Rejects with `SealError`: `SEAL_UNKNOWN_KEY` when the
   * key is not to be had, `SEAL_UNAVAILABLE` when whoever has it cannot be asked now.
   */
  encrypt(plaintext: Uint8Array): Promise<Uint8Array>
  /**
   * Opens envelopes of former versions of the key too. Rejects as `encrypt`, and with `SEAL_DECRYPTION_FAILED` for an envelope
   * that is damaged in any way.
   */
  decrypt(envelope: Uint8Array): Promise<Uint8Array>
  /**
   * Id of the key that made the envelope, without opening it, so unauthenticated. Throws `SEAL_DECRYPTION_FAILED` for what is
   * no envelope.
   */
  keyIdOf(envelope: Uint8Array): string
  /** Ends connections and sessions, overwrites the keys it holds; later calls reject with a `SealError`. Idempotent. */
  close(): void | Promise<void>
}
