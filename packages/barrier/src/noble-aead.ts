import { gcm } from '@noble/ciphers/aes.js'
import { type Aead, TAG_BYTES } from './aead.ts'
import { checkKeyAndNonce } from './aead-input.ts'
import { decryptionFailed } from './errors.ts'

/** The portable one: audited pure JavaScript, for runtimes without node:crypto and as a second opinion. Slower. */
export function nobleAead(): Aead {
  return {
    seal(key, nonce, plaintext, associatedData) {
      checkKeyAndNonce(key, nonce)
      return gcm(key, nonce, associatedData).encrypt(plaintext)
    },
    open(key, nonce, ciphertext, associatedData) {
      checkKeyAndNonce(key, nonce)
      if (ciphertext.length < TAG_BYTES) throw decryptionFailed()
      const cipher = gcm(key, nonce, associatedData)
      try {
        return cipher.decrypt(ciphertext)
      } catch {
        throw decryptionFailed()
      }
    },
  }
}
