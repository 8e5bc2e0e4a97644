import { createPublicKey, generateKeyPair, type KeyObject, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { BackendError } from '@lockstep/backend'

const makeKeyPair = promisify(generateKeyPair)

interface TypeTraits {
  /** Vault's number of the type in backups. */
  backupNumber: number
  aead?: { cipher: 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305'; keyLength: 16 | 32 }
  rsaBits?: number
  /** Node's (OpenSSL's) curve name, the JWK name and the name clients see. */
  curve?: { openssl: string; jwk: 'P-256' | 'P-384' | 'P-521'; scalarLength: number }
  ed25519?: true
  hmac?: true
}

const traits = {
  'aes128-gcm96': { backupNumber: 8, aead: { cipher: 'aes-128-gcm', keyLength: 16 } },
  'aes256-gcm96': { backupNumber: 0, aead: { cipher: 'aes-256-gcm', keyLength: 32 } },
  'chacha20-poly1305': { backupNumber: 5, aead: { cipher: 'chacha20-poly1305', keyLength: 32 } },
  ed25519: { backupNumber: 2, ed25519: true },
  'ecdsa-p256': { backupNumber: 1, curve: { openssl: 'prime256v1', jwk: 'P-256', scalarLength: 32 } },
  'ecdsa-p384': { backupNumber: 6, curve: { openssl: 'secp384r1', jwk: 'P-384', scalarLength: 48 } },
  'ecdsa-p521': { backupNumber: 7, curve: { openssl: 'secp521r1', jwk: 'P-521', scalarLength: 66 } },
  'rsa-2048': { backupNumber: 3, rsaBits: 2048 },
  'rsa-3072': { backupNumber: 9, rsaBits: 3072 },
  'rsa-4096': { backupNumber: 4, rsaBits: 4096 },
  hmac: { backupNumber: 11, hmac: true },
} satisfies Record<string, TypeTraits>

export type KeyType = keyof typeof traits

export const keyTypes = Object.keys(traits) as KeyType[]

export function traitsOf(type: KeyType): TypeTraits {
  return traits[type]
}

/** @throws BackendError `unknown key type …` */
export function keyTypeOf(name: string): KeyType {
  if (!Object.hasOwn(traits, name)) throw new BackendError('BACKEND_INVALID_REQUEST', `unknown key type ${name}`)
  return name as KeyType
}

export function supports(type: KeyType) {
  const { aead, rsaBits, curve, ed25519 } = traitsOf(type)
  return {
    encryption: aead !== undefined || rsaBits !== undefined,
    signing: rsaBits !== undefined || curve !== undefined || ed25519 !== undefined,
    derivation: aead !== undefined || ed25519 !== undefined,
  }
}

/**
 * A new secret of the type: raw bytes for AEAD and hmac keys, seed ‖ public key for ed25519, PKCS #8 DER for RSA and ECDSA.
 *
 * @param size bytes, for hmac
 */
export async function generateSecret(type: KeyType, size: number): Promise<Buffer> {
  const { aead, rsaBits, curve, ed25519 } = traitsOf(type)
  if (aead !== undefined) return randomBytes(aead.keyLength)
  if (ed25519) return ed25519Secret((await makeKeyPair('ed25519')).privateKey)
  if (curve !== undefined) return pkcs8((await makeKeyPair('ec', { namedCurve: curve.openssl })).privateKey)
  if (rsaBits !== undefined) return pkcs8((await makeKeyPair('rsa', { modulusLength: rsaBits })).privateKey)
  return randomBytes(size)
}

function ed25519Secret(key: KeyObject): Buffer {
  const { d, x } = key.export({ format: 'jwk' })
  return Buffer.concat([Buffer.from(d!, 'base64url'), Buffer.from(x!, 'base64url')])
}

function pkcs8(key: KeyObject): Buffer {
  return key.export({ type: 'pkcs8', format: 'der' })
}

/** As clients see it: PEM, or base64 of the raw bytes for ed25519. */
export function publicKeyText(privateKey: KeyObject): string {
  const publicKey = createPublicKey(privateKey)
  if (publicKey.asymmetricKeyType !== 'ed25519') return publicKey.export({ type: 'spki', format: 'pem' }) as string
  return Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url').toString('base64')
}
