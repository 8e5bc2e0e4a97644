/**
 * RSA signatures over a digest the client computed, which node:crypto has no call for: the padding of RFC 8017 is done here, the RSA
 * operation (blinded, constant time) by OpenSSL.
 */
import {
  constants,
  createHash,
  type KeyObject,
  privateEncrypt,
  publicDecrypt,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'
import type { HashAlgorithm } from './hash-algorithm.ts'

/** RSASSA-PKCS1-v1_5, RFC 8017 section 8.2. Without `hash` the input itself is padded. */
export function signPkcs1(key: KeyObject, hash: HashAlgorithm | undefined, digest: Buffer): Buffer {
  return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, digestInfo(hash, digest))
}

export function verifyPkcs1(
  key: KeyObject,
  hash: HashAlgorithm | undefined,
  digest: Buffer,
  signature: Buffer,
): boolean {
  const expected = digestInfo(hash, digest)
  try {
    const found = publicDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, signature)
    return found.length === expected.length && timingSafeEqual(found, expected)
  } catch {
    return false
  }
}

/** RSASSA-PSS, RFC 8017 section 8.1; MGF1 with the same hash. `saltLength` undefined = the longest possible. */
export function signPss(key: KeyObject, hash: HashAlgorithm, digest: Buffer, saltLength: number | undefined): Buffer {
  const bits = modulusBits(key) - 1
  const length = Math.ceil(bits / 8)
  const longest = length - hash.length - 2
  const saltBytes = saltLength ?? longest
  if (longest < 0 || saltBytes > longest) throw new RangeError('salt does not fit the key')
  const salt = randomBytes(saltBytes)
  const h = pssHash(hash, digest, salt)
  const db = Buffer.alloc(length - hash.length - 1)
  db[db.length - salt.length - 1] = 1
  salt.copy(db, db.length - salt.length)
  mask(db, hash, h)
  db[0]! &= 0xff >> (8 * length - bits)
  const encoded = Buffer.concat([db, h, Buffer.from([0xbc])])
  return privateEncrypt({ key, padding: constants.RSA_NO_PADDING }, fullLength(encoded, modulusBits(key)))
}

/** `saltLength` undefined = whatever the signature has. */
export function verifyPss(
  key: KeyObject,
  hash: HashAlgorithm,
  digest: Buffer,
  signature: Buffer,
  saltLength: number | undefined,
): boolean {
  const bits = modulusBits(key) - 1
  const length = Math.ceil(bits / 8)
  let encoded: Buffer
  try {
    const full = publicDecrypt({ key, padding: constants.RSA_NO_PADDING }, signature)
    if (full.length > length && full[0] !== 0) return false
    encoded = full.subarray(full.length - length)
  } catch {
    return false
  }
  const unused = 0xff << (8 - (8 * length - bits))
  if (encoded[length - 1] !== 0xbc || length < hash.length + 2 || (encoded[0]! & unused & 0xff) !== 0) return false
  const db = Buffer.from(encoded.subarray(0, length - hash.length - 1))
  const h = encoded.subarray(length - hash.length - 1, length - 1)
  mask(db, hash, h)
  db[0]! &= 0xff >> (8 * length - bits)
  const marker = db.findIndex((byte) => byte !== 0)
  if (marker === -1 || db[marker] !== 1) return false
  const salt = db.subarray(marker + 1)
  if (saltLength !== undefined && salt.length !== saltLength) return false
  return timingSafeEqual(h, pssHash(hash, digest, salt))
}

function digestInfo(hash: HashAlgorithm | undefined, digest: Buffer): Buffer {
  if (hash === undefined) return digest
  const oid = Buffer.from(hash.oid, 'hex')
  const algorithm = Buffer.concat([
    Buffer.from([0x30, oid.length + 4, 0x06, oid.length]),
    oid,
    Buffer.from([0x05, 0x00]),
  ])
  const head = Buffer.from([0x30, algorithm.length + 2 + digest.length])
  return Buffer.concat([head, algorithm, Buffer.from([0x04, digest.length]), digest])
}

function pssHash(hash: HashAlgorithm, digest: Buffer, salt: Buffer): Buffer {
  return createHash(hash.node).update(Buffer.alloc(8)).update(digest).update(salt).digest()
}

function mask(bytes: Buffer, hash: HashAlgorithm, seed: Buffer): void {
  const counter = Buffer.alloc(4)
  for (let offset = 0, round = 0; offset < bytes.length; offset += hash.length, round++) {
    counter.writeUInt32BE(round)
    const block = createHash(hash.node).update(seed).update(counter).digest()
    for (let index = 0; index < block.length && offset + index < bytes.length; index++) {
      bytes[offset + index]! ^= block[index]!
    }
  }
}

function modulusBits(key: KeyObject): number {
  return key.asymmetricKeyDetails!.modulusLength!
}

function fullLength(encoded: Buffer, bits: number): Buffer {
  const length = Math.ceil(bits / 8)
  return encoded.length === length ? encoded : Buffer.concat([Buffer.alloc(length - encoded.length), encoded])
}
