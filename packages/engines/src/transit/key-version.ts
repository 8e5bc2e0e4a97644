import { createPrivateKey, createPublicKey, hkdfSync, type KeyObject } from 'node:crypto'
import { type KeyType, traitsOf } from './key-type.ts'

/** One version's secrets, as stored under `key/<name>/<number>` (base64 there). */
export interface KeySecrets {
  /** Milliseconds. */
  created: number
  /** See `generateSecret`. */
  secret: Buffer
  hmacKey: Buffer
}

export interface KeyVersion extends KeySecrets {
  readonly number: number
  /** RSA, ECDSA, ed25519 only; parsed on first use. With `context` (derived ed25519) the derived key. */
  privateKey(context?: Buffer): KeyObject
  publicKey(context?: Buffer): KeyObject
}

// RFC 8410: the fixed head of a PKCS #8 ed25519 key; the 32-byte seed follows.
const ed25519Head = Buffer.from('302e020100300506032b657004220420', 'hex')

export function keyVersion(type: KeyType, number: number, secrets: KeySecrets): KeyVersion {
  let privateKey: KeyObject | undefined
  let publicKey: KeyObject | undefined
  return {
    ...secrets,
    number,
    privateKey(context) {
      if (context !== undefined) return parsePrivateKey(type, derive(secrets.secret, context, 32))
      privateKey ??= parsePrivateKey(type, secrets.secret)
      return privateKey
    },
    publicKey(context) {
      if (context !== undefined) return createPublicKey(this.privateKey(context))
      publicKey ??= createPublicKey(this.privateKey())
      return publicKey
    },
  }
}

/** HKDF-SHA256 (RFC 5869) without salt, `info` = the client's context. */
export function derive(secret: Buffer, context: Buffer, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', context, length))
}

function parsePrivateKey(type: KeyType, secret: Buffer): KeyObject {
  const der = traitsOf(type).ed25519 ? Buffer.concat([ed25519Head, secret.subarray(0, 32)]) : secret
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  if (der !== secret) der.fill(0)
  return key
}
