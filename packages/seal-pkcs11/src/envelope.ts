/**
 * | bytes | content                                                            |
 * | ----- | ------------------------------------------------------------------ |
 * | 1     | version: 1                                                         |
 * | 1, n  | length of the key's label, label in UTF-8; 0 when it is found by id |
 * | 1, m  | length of the key's id, id; 0 when it is found by label            |
 * | 12    | initialization vector                                              |
 * | 1 + p | AES-GCM ciphertext of a byte 1 and the plaintext, all of the above up to the vector as associated data |
 * | 16    | tag                                                                |
 *
 * The byte before the plaintext is for tokens that encrypt nothing empty.
 */
import { SealError } from '@lockstep/seal'

const VERSION = 1
export const IV_BYTES = 12
export const TAG_BYTES = 16

/** How a key is found in the token: by at least one of the two. */
export interface KeyName {
  /** "" = any. At most 255 bytes of UTF-8. */
  label: string
  /** Empty = any. At most 255 bytes. */
  id: Buffer
}

export interface Envelope {
  key: KeyName
  /** What is authenticated beside the plaintext. */
  header: Buffer
  iv: Buffer
  /** With the tag at its end. */
  ciphertext: Buffer
}

export function envelopeHeader({ label, id }: KeyName): Buffer {
  const text = Buffer.from(label, 'utf8')
  return Buffer.concat([Buffer.of(VERSION, text.length), text, Buffer.of(id.length), id])
}

/** Throws `SEAL_DECRYPTION_FAILED`. */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const envelope = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const labelEnd = 2 + (envelope[1] ?? 0)
  const headerEnd = labelEnd + 1 + (envelope[labelEnd] ?? 0)
  if (envelope[0] !== VERSION || envelope.length < headerEnd + IV_BYTES + TAG_BYTES) throw decryptionFailed()
  const key = { label: envelope.toString('utf8', 2, labelEnd), id: envelope.subarray(labelEnd + 1, headerEnd) }
  const header = envelope.subarray(0, headerEnd)
  // Bytes that are not UTF-8 name no key, and neither do none.
  if (headerEnd === 3 || !envelopeHeader(key).equals(header)) throw decryptionFailed()
  const body = headerEnd + IV_BYTES
  return { key, header, iv: envelope.subarray(headerEnd, body), ciphertext: envelope.subarray(body) }
}

export function keyText({ label, id }: KeyName): string {
  return [label, id.toString('hex')].filter((part) => part !== '').join('/')
}

export function decryptionFailed(): SealError {
  return new SealError('SEAL_DECRYPTION_FAILED', 'the envelope cannot be decrypted')
}
