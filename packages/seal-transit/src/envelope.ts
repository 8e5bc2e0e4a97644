/**
 * What is stored of a transit ciphertext. Transit's own text would do, but base64 and numbers can be written in several ways,
 * and a record must have one form only:
 *
 * | bytes | content                                                           |
 * | ----- | ----------------------------------------------------------------- |
 * | 1     | version: 1                                                        |
 * | 1     | 1 when `ASSOCIATED_DATA` is authenticated with it, otherwise 0     |
 * | 4     | version of the transit key, at least 1, big-endian                |
 * | n     | the ciphertext after `vault:v<version>:`, decoded from base64     |
 */
import { SealError } from '@lockstep/seal'

const VERSION = 1
const HEADER_BYTES = 6
/** Nonce and tag of the shortest one. */
const MIN_CIPHERTEXT_BYTES = 28
const MAX_KEY_VERSION = 999_999_999

export interface Envelope {
  keyVersion: number
  /** Whether the ciphertext authenticates `ASSOCIATED_DATA`. */
  bound: boolean
  ciphertext: Buffer
}

/** Keeps ciphertexts of other users of the same transit key from being taken for a seal's. */
export const ASSOCIATED_DATA = Buffer.from('lockstep auto seal, envelope 1')

/** `text` as transit gave it. Throws `SEAL_UNAVAILABLE` for any other form. */
export function encodeEnvelope(text: unknown, bound: boolean): Uint8Array {
  const match = typeof text === 'string' ? /^vault:v([1-9]\d{0,8}):([A-Za-z0-9+/]+={0,2})$/.exec(text) : null
  const ciphertext = Buffer.from(match?.[2] ?? '', 'base64')
  if (match === null || ciphertext.length < MIN_CIPHERTEXT_BYTES) {
    throw new SealError('SEAL_UNAVAILABLE', 'the answer of the transit server holds no ciphertext')
  }
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt8(VERSION, 0)
  header.writeUInt8(bound ? 1 : 0, 1)
  header.writeUInt32BE(Number(match[1]), 2)
  return new Uint8Array(Buffer.concat([header, ciphertext]))
}

/** Throws `SEAL_DECRYPTION_FAILED`. */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const envelope = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (envelope.length < HEADER_BYTES + MIN_CIPHERTEXT_BYTES) throw malformed()
  const bound = envelope.readUInt8(1)
  const keyVersion = envelope.readUInt32BE(2)
  // Transit takes version 0 for version 1.
  if (envelope.readUInt8(0) !== VERSION || bound > 1 || keyVersion < 1 || keyVersion > MAX_KEY_VERSION)
    throw malformed()
  return { keyVersion, bound: bound === 1, ciphertext: envelope.subarray(HEADER_BYTES) }
}

/** As transit takes it. */
export function ciphertextOf({ keyVersion, ciphertext }: Envelope): string {
  return `vault:v${keyVersion}:${ciphertext.toString('base64')}`
}

function malformed(): SealError {
  return new SealError('SEAL_DECRYPTION_FAILED', 'the envelope cannot be decrypted')
}
