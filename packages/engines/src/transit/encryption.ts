import {
  type CipherGCM,
  constants,
  createCipheriv,
  createDecipheriv,
  createHmac,
  type DecipherGCM,
  privateDecrypt,
  publicEncrypt,
} from 'node:crypto'
import { traitsOf } from './key-type.ts'
import { derive, type KeyVersion } from './key-version.ts'
import { randomNonce } from './nonce.ts'
import { contextFor, refuse, type TransitKey, versionThatMade, versionToUse } from './transit-key.ts'
import { parseVersionedText, versionedText } from './versioned-text.ts'

export interface EncryptionInput {
  /** Derivation context; required for derived keys, ignored for others. */
  context: Buffer | undefined
  associatedData: Buffer | undefined
  /** 0 = latest. */
  keyVersion: number
}

const nonceLength = 12
const tagLength = 16

/** `vault:v<N>:` + base64(nonce ‖ ciphertext ‖ tag), or of the RSA-OAEP (SHA-256) ciphertext. */
export function encrypt(key: TransitKey, plaintext: Buffer, input: EncryptionInput): { text: string; version: number } {
  const { type } = key.settings
  const { aead, rsaBits } = traitsOf(type)
  if (aead === undefined && rsaBits === undefined) refuse(`message encryption not supported for key type ${type}`)
  const version = versionToUse(key, input.keyVersion, 'encryption')
  if (aead === undefined) {
    if (input.associatedData !== undefined) refuse(`associated_data provided for non-AEAD cipher suite ${type}`)
    return { text: versionedText(version.number, rsaEncrypt(version, plaintext)), version: version.number }
  }
  const context = contextFor(key, input.context)
  const { secret, nonce } = sealingKey(key, version, context, aead.keyLength, plaintext)
  const cipher = createCipheriv(aead.cipher as 'aes-256-gcm', secret, nonce, { authTagLength: tagLength }) as CipherGCM
  if (input.associatedData !== undefined) cipher.setAAD(input.associatedData, { plaintextLength: plaintext.length })
  const body = cipher.update(plaintext)
  cipher.final()
  const sealed = Buffer.concat([nonce, body, cipher.getAuthTag()], nonceLength + body.length + tagLength)
  return { text: versionedText(version.number, sealed.toString('base64')), version: version.number }
}

export function decrypt(key: TransitKey, ciphertext: string, input: Omit<EncryptionInput, 'keyVersion'>): Buffer {
  const { type } = key.settings
  const { aead, rsaBits } = traitsOf(type)
  if (aead === undefined && rsaBits === undefined) refuse(`message decryption not supported for key type ${type}`)
  const { version: number, payload } = parseVersionedText(ciphertext, 'ciphertext')
  const version = versionThatMade(key, number, 'ciphertext')
  const sealed = Buffer.from(payload, 'base64')
  if (sealed.toString('base64') !== payload) refuse('invalid ciphertext: could not decode base64')
  if (aead === undefined) return rsaDecrypt(version, sealed)
  if (sealed.length < nonceLength + tagLength) refuse('invalid ciphertext length')
  const context = contextFor(key, input.context)
  const secret = context === undefined ? version.secret : derive(version.secret, context, aead.keyLength)
  const nonce = sealed.subarray(0, nonceLength)
  const decipher = createDecipheriv(aead.cipher as 'aes-256-gcm', secret, nonce, {
    authTagLength: tagLength,
  }) as DecipherGCM
  const body = sealed.subarray(nonceLength, sealed.length - tagLength)
  decipher.setAuthTag(sealed.subarray(sealed.length - tagLength))
  if (input.associatedData !== undefined) decipher.setAAD(input.associatedData, { plaintextLength: body.length })
  const plaintext = decipher.update(body)
  try {
    decipher.final()
  } catch {
    plaintext.fill(0)
    refuse('cipher: message authentication failed')
  }
  return plaintext
}

/**
 * The AEAD key and nonce. Convergent keys derive a second key and take the nonce from HMAC-SHA256 of the plaintext, so that equal
 * plaintexts under one context give equal ciphertexts (Vault's convergent version 3).
 */
function sealingKey(
  key: TransitKey,
  version: KeyVersion,
  context: Buffer | undefined,
  length: number,
  plaintext: Buffer,
): { secret: Buffer; nonce: Buffer } {
  if (context === undefined) return { secret: version.secret, nonce: randomNonce() }
  if (!key.settings.convergent) return { secret: derive(version.secret, context, length), nonce: randomNonce() }
  const derived = derive(version.secret, context, length + 32)
  const nonce = createHmac('sha256', derived.subarray(length)).update(plaintext).digest().subarray(0, nonceLength)
  return { secret: derived.subarray(0, length), nonce }
}

const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }

function rsaEncrypt(version: KeyVersion, plaintext: Buffer): string {
  try {
    return publicEncrypt({ key: version.publicKey(), ...oaep }, plaintext).toString('base64')
  } catch {
    return refuse('failed to RSA encrypt the plaintext: crypto/rsa: message too long for RSA key size')
  }
}

function rsaDecrypt(version: KeyVersion, sealed: Buffer): Buffer {
  try {
    return privateDecrypt({ key: version.privateKey(), ...oaep }, sealed)
  } catch {
    return refuse('failed to RSA decrypt the ciphertext: crypto/rsa: decryption error')
  }
}
