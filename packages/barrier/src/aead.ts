/**
 * AES-256-GCM with a 96-bit nonce and a 128-bit tag (NIST SP 800-38D), synchronous. Implementations reject with
 * `BarrierError`: `BARRIER_INVALID_KEY` for a key that is not 32 or a nonce that is not 12 bytes long, and
 * `BARRIER_DECRYPTION_FAILED` for anything wrong with the ciphertext. A nonce must never be used twice under one key.
 */
export interface Aead {
  /** Returns ciphertext followed by the 16-byte tag. */
  seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, associatedData: Uint8Array): Uint8Array
  /** Takes ciphertext followed by the tag; returns the plaintext in a buffer of its own. */
  open(key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array, associatedData: Uint8Array): Uint8Array
}

export const KEY_BYTES = 32
export const NONCE_BYTES = 12
export const TAG_BYTES = 16
