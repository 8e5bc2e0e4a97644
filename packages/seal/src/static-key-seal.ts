/**
 * The auto seal whose key is given to the server, like OpenBao's `seal "static"`. Rotate by configuring a new key and the
 * former one as previous. The envelope:
 *
 * | bytes | content                                                  |
 * | ----- | -------------------------------------------------------- |
 * | 1     | version: 1                                               |
 * | 1     | length of the key id, n                                  |
 * | n     | key id, UTF-8                                            |
 * | 12    | nonce                                                    |
 * | m     | AES-256-GCM ciphertext, all of the above up to the nonce as associated data |
 * | 16    | tag                                                      |
 */
import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from 'node:crypto'
import type { AutoSeal } from './auto-seal.ts'
import { SealError } from './errors.ts'

const VERSION = 1
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const MAX_KEY_ID_BYTES = 128
const ALGORITHM = 'aes-256-gcm'
const OPTIONS = { authTagLength: TAG_BYTES }

export interface StaticKeySealOptions {
  /** 1 to 128 bytes of UTF-8. Names the key in envelopes; change it with the key. */
  keyId: string
  /** 32 bytes, copied. */
  key: Uint8Array
  /** Opens envelopes from before the last change of key. Both or neither. */
  previousKeyId?: string
  previousKey?: Uint8Array
}

export interface StaticKeySeal extends AutoSeal {
  /** Overwrites the keys; every later call rejects with `SEAL_UNKNOWN_KEY`. */
  close(): void
}

/** Throws `SEAL_INVALID_KEY` for a key or key id of the wrong length or a previous key that clashes with the current one. */
export function staticKeySeal(options: StaticKeySealOptions): StaticKeySeal {
  const { keyId, key, previousKeyId, previousKey } = options
  const keys = new Map([[keyId, checkedKey(keyId, key)]])
  if (previousKeyId !== undefined || previousKey !== undefined) {
    if (previousKeyId === undefined || previousKey === undefined) {
      throw new SealError('SEAL_INVALID_KEY', 'previousKeyId and previousKey go together')
    }
    if (previousKeyId === keyId) throw new SealError('SEAL_INVALID_KEY', 'the previous key needs an id of its own')
    const previous = checkedKey(previousKeyId, previousKey)
    if (timingSafeEqual(previous, key)) throw new SealError('SEAL_INVALID_KEY', 'the previous key is the current key')
    keys.set(previousKeyId, previous)
  }
  return {
    type: 'static',
    keyId,
    async encrypt(plaintext) {
      const current = keys.get(keyId)
      if (current === undefined) throw unknownKey()
      return encrypt(keyId, current, plaintext)
    },
    async decrypt(envelope) {
      const { id, header } = parse(envelope)
      const found = keys.get(id)
      if (found === undefined) throw unknownKey()
      return decrypt(found, header, envelope)
    },
    keyIdOf: (envelope) => parse(envelope).id,
    close() {
      for (const held of keys.values()) held.fill(0)
      keys.clear()
    },
  }
}

function encrypt(keyId: string, key: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const id = Buffer.from(keyId, 'utf8')
  const header = Buffer.concat([Uint8Array.of(VERSION, id.length), id])
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(ALGORITHM, key, nonce, OPTIONS)
  cipher.setAAD(header)
  const body = cipher.update(plaintext)
  cipher.final()
  return new Uint8Array(Buffer.concat([header, nonce, body, cipher.getAuthTag()]))
}

function parse(envelope: Uint8Array): { id: string; header: Uint8Array } {
  const headerLength = 2 + (envelope[1] ?? 0)
  if (envelope[0] !== VERSION || envelope.length < headerLength + NONCE_BYTES + TAG_BYTES) throw decryptionFailed()
  const header = envelope.subarray(0, headerLength)
  return { id: new TextDecoder().decode(header.subarray(2)), header }
}

function decrypt(key: Uint8Array, header: Uint8Array, envelope: Uint8Array): Uint8Array {
  const body = header.length + NONCE_BYTES
  const decipher = createDecipheriv(ALGORITHM, key, envelope.subarray(header.length, body), OPTIONS)
  decipher.setAuthTag(envelope.subarray(envelope.length - TAG_BYTES))
  decipher.setAAD(header)
  const plaintext = decipher.update(envelope.subarray(body, envelope.length - TAG_BYTES))
  try {
    decipher.final()
  } catch {
    plaintext.fill(0)
    throw decryptionFailed()
  }
  return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength)
}

function checkedKey(keyId: string, key: Uint8Array): Uint8Array {
  const idLength = Buffer.byteLength(keyId, 'utf8')
  if (idLength < 1 || idLength > MAX_KEY_ID_BYTES) {
    throw new SealError('SEAL_INVALID_KEY', 'a key id must be from 1 to 128 bytes of UTF-8')
  }
  if (key.length !== KEY_BYTES) throw new SealError('SEAL_INVALID_KEY', 'the key must be 32 bytes long')
  return new Uint8Array(key)
}

function unknownKey(): SealError {
  return new SealError('SEAL_UNKNOWN_KEY', 'the envelope was made with a key this seal does not hold')
}

function decryptionFailed(): SealError {
  return new SealError('SEAL_DECRYPTION_FAILED', 'the envelope cannot be decrypted')
}
