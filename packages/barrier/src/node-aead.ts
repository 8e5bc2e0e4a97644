import { createCipheriv, createDecipheriv } from 'node:crypto'
import { type Aead, TAG_BYTES } from './aead.ts'
import { checkKeyAndNonce } from './aead-input.ts'
import { decryptionFailed } from './errors.ts'

const ALGORITHM = 'aes-256-gcm'
const OPTIONS = { authTagLength: TAG_BYTES }

/** The default: OpenSSL through node:crypto. */
export function nodeAead(): Aead {
  return { seal, open }
}

function seal(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array<ArrayBuffer> {
  checkKeyAndNonce(key, nonce)
  const cipher = createCipheriv(ALGORITHM, key, nonce, OPTIONS)
  cipher.setAAD(associatedData)
  const body = cipher.update(plaintext)
  cipher.final()
  const out = new Uint8Array(body.length + TAG_BYTES)
  out.set(body)
  out.set(cipher.getAuthTag(), body.length)
  return out
}

function open(
  key: Uint8Array,
  nonce: Uint8Array,
  ciphertext: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array<ArrayBuffer> {
  checkKeyAndNonce(key, nonce)
  const end = ciphertext.length - TAG_BYTES
  if (end < 0) throw decryptionFailed()
  const decipher = createDecipheriv(ALGORITHM, key, nonce, OPTIONS)
  decipher.setAuthTag(ciphertext.subarray(end))
  decipher.setAAD(associatedData)
  // GCM is a stream mode: update gives all of the plaintext, which is only handed out once final has verified the tag.
  const plaintext = decipher.update(ciphertext.subarray(0, end))
  try {
    decipher.final()
  } catch {
    plaintext.fill(0)
    throw decryptionFailed()
  }
  return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength)
}
