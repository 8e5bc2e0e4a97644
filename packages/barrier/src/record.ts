/**
 * The stored form of one value, byte for byte as Vault and OpenBao lay it out:
 *
 * | bytes | content                                             |
 * | ----- | --------------------------------------------------- |
 * | 4     | term of the key, unsigned, big-endian               |
 * | 1     | version: 2 (the storage path is associated data)    |
 * | 12    | nonce                                               |
 * | n     | AES-256-GCM ciphertext                              |
 * | 16    | tag                                                 |
 *
 * The associated data is the whole storage path, so a record cannot be moved to another path.
 */
import { type Aead, NONCE_BYTES, TAG_BYTES } from './aead.ts'
import { decryptionFailed } from './errors.ts'

export const RECORD_VERSION = 2
const HEADER_BYTES = 5
const BODY_OFFSET = HEADER_BYTES + NONCE_BYTES
/** Length of a record over the length of its plaintext. */
export const RECORD_OVERHEAD = BODY_OFFSET + TAG_BYTES

export interface RecordKey {
  term: number
  /** 32 bytes. */
  key: Uint8Array
}

export function sealRecord(
  aead: Aead,
  recordKey: RecordKey,
  nonce: Uint8Array,
  path: string,
  plaintext: Uint8Array,
): Uint8Array {
  const sealed = aead.seal(recordKey.key, nonce, plaintext, Buffer.from(path, 'utf8'))
  const record = new Uint8Array(BODY_OFFSET + sealed.length)
  const { term } = recordKey
  record[0] = term >>> 24
  record[1] = term >>> 16
  record[2] = term >>> 8
  record[3] = term
  record[4] = RECORD_VERSION
  record.set(nonce, HEADER_BYTES)
  record.set(sealed, BODY_OFFSET)
  return record
}

/** `keyOf` gives the key of a term, or undefined. Throws `BARRIER_DECRYPTION_FAILED`, never saying why. */
export function openRecord(
  aead: Aead,
  keyOf: (term: number) => Uint8Array | undefined,
  path: string,
  record: Uint8Array,
): Uint8Array {
  if (record.length < RECORD_OVERHEAD || record[4] !== RECORD_VERSION) throw decryptionFailed()
  const key = keyOf(recordTerm(record))
  if (key === undefined) throw decryptionFailed()
  const nonce = record.subarray(HEADER_BYTES, BODY_OFFSET)
  return aead.open(key, nonce, record.subarray(BODY_OFFSET), Buffer.from(path, 'utf8'))
}

/** The term a record claims to be sealed under; not authenticated until it is opened. At least 4 bytes. */
export function recordTerm(record: Uint8Array): number {
  return ((record[0]! << 24) | (record[1]! << 16) | (record[2]! << 8) | record[3]!) >>> 0
}
