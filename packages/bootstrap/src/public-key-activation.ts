/**
 * Activation without the primary's API: the activation package encrypted to a key the new secondary made, so that only the
 * cluster port is needed. ECDH-ES over P-521 with A256GCM (JWE) around a statement signed by the set's CA (JWS, ES256), which ties
 * package, recipient, use and expiry together: parts of two tokens cannot be joined, and nobody but a holder of the CA's key can give
 * an old package a new date or address. Whose CA it is, the operator who carries the token vouches for.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { CompactEncrypt, compactDecrypt, decodeJwt, decodeProtectedHeader, errors, jwtVerify, SignJWT } from 'jose'
import { type ActivationPackage, parseActivationPackage } from './activation-package.ts'
import { BootstrapError } from './errors.ts'
import { readCertificate } from './peer.ts'

const CURVE = 'secp521r1'
const AGREEMENT = 'ECDH-ES'
const CIPHER = 'A256GCM'
const SIGNATURE = 'ES256'
const TYPE = 'secondary-activation'
/** Longest token looked at, in characters. A real one has about 5,500. */
const MAX_SEALED_LENGTH = 64 * 1024
/** A P-521 SubjectPublicKeyInfo has 158 bytes. */
const MAX_PUBLIC_KEY_LENGTH = 1024
/** Clocks of two clusters may differ by this much. */
const BACKDATE_SECONDS = 60

export interface ActivationKeyPair {
  /** PKCS#8. */
  privateKeyPem: string
  /** Base64 of the SubjectPublicKeyInfo (DER): one word, for a command line. */
  publicKey: string
}

/** A P-521 key pair of a secondary to be. */
export function generateActivationKey(): ActivationKeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: CURVE })
  return {
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    publicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
  }
}

export interface SealActivationInput {
  /** As `generateActivationKey` gave it to the secondary. */
  publicKey: string
  package: ActivationPackage
  /** The CA of the package, P-256 PEM. */
  caPrivateKey: string
  /** Seconds, above 0. */
  ttl: number
  /** Milliseconds since the epoch. */
  now: number
}

/** Throws `BOOTSTRAP_INVALID_KEY` when `publicKey` is no P-521 key, and `BOOTSTRAP_INVALID_TOKEN` for a lifetime that is none. */
export async function sealActivation(input: SealActivationInput): Promise<string> {
  if (!(input.ttl > 0) || !Number.isFinite(input.ttl)) throw invalid('ttl must be above 0 seconds')
  const recipient = readPublicKey(input.publicKey)
  const kid = keyIdOf(recipient)
  const iat = Math.floor(input.now / 1000)
  const exp = iat + Math.ceil(input.ttl)
  const { kind } = input.package
  const statement = await new SignJWT({ type: TYPE, package: { ...input.package } })
    .setProtectedHeader({ alg: SIGNATURE, typ: 'JWT' })
    .setAudience(kid)
    .setIssuedAt(iat)
    .setNotBefore(iat - BACKDATE_SECONDS)
    .setExpirationTime(exp)
    .sign(createPrivateKey(input.caPrivateKey))
  return new CompactEncrypt(Buffer.from(statement))
    .setProtectedHeader({ alg: AGREEMENT, enc: CIPHER, cty: 'JWT', kid, kind, exp })
    .encrypt(recipient)
}

/** Whether the text has the shape of a sealed activation rather than of a wrapping token. */
export function isSealedActivation(token: string): boolean {
  return typeof token === 'string' && token.trim().split('.').length === 5
}

export interface OpenActivationOptions {
  /** The secondary's private key; undefined when it has none (any more). */
  privateKey: string | undefined
  kind: ActivationPackage['kind']
  /** Milliseconds since the epoch. */
  now: number
}

/**
 * The package in a token, once everything about it was checked. Throws `BOOTSTRAP_INVALID_TOKEN`, `BOOTSTRAP_TOKEN_EXPIRED` or
 * `BOOTSTRAP_INVALID_PACKAGE`.
 */
export async function openActivation(
  token: string,
  { privateKey, kind, now }: OpenActivationOptions,
): Promise<ActivationPackage> {
  if (typeof token !== 'string' || token.length > MAX_SEALED_LENGTH) throw invalid('it is too long')
  const text = token.trim()
  const header = readHeader(text)
  if (header.kind !== kind) throw invalid(`it activates a ${header.kind} secondary, not a ${kind} one`)
  if (header.exp * 1000 <= now) throw expired()
  if (privateKey === undefined) {
    throw invalid('this cluster has no key to open it with: none was generated, or it was used already')
  }
  const key = createPrivateKey(privateKey)
  const kid = keyIdOf(createPublicKey(key))
  if (header.kid !== kid) throw invalid('it was made for another key; a newer one may have been generated since')
  const statement = await decrypt(text, key)
  const parsed = parseActivationPackage(unverified(statement).package)
  const claims = await verify(statement, readCertificate(parsed.caCertificate).publicKey, kid, now)
  if (parsed.kind !== kind || claims.exp !== header.exp) throw invalid('its parts do not belong together')
  return parsed
}

interface SealedHeader {
  kid: string
  kind: ActivationPackage['kind']
  exp: number
}

function readHeader(token: string): SealedHeader {
  let header: Record<string, unknown>
  try {
    header = decodeProtectedHeader(token) as Record<string, unknown>
  } catch {
    throw invalid('it is not a sealed activation')
  }
  const { alg, enc, kid, kind, exp } = header
  if (alg !== AGREEMENT || enc !== CIPHER) throw invalid(`it is not encrypted with ${AGREEMENT} and ${CIPHER}`)
  if (typeof kid !== 'string') throw invalid('it names no key')
  if (kind !== 'performance' && kind !== 'dr') throw invalid('it names no kind of secondary')
  if (typeof exp !== 'number' || !Number.isSafeInteger(exp)) throw invalid('it names no expiry')
  return { kid, kind, exp }
}

async function decrypt(token: string, key: KeyObject): Promise<string> {
  try {
    const { plaintext } = await compactDecrypt(token, key, {
      keyManagementAlgorithms: [AGREEMENT],
      contentEncryptionAlgorithms: [CIPHER],
    })
    const text = Buffer.from(plaintext).toString('utf8')
    plaintext.fill(0)
    return text
  } catch {
    throw invalid('it cannot be decrypted')
  }
}

function unverified(statement: string): Record<string, unknown> {
  try {
    return decodeJwt(statement)
  } catch {
    throw invalid('what it holds is not a signed statement')
  }
}

async function verify(statement: string, caKey: KeyObject, kid: string, now: number): Promise<{ exp: number }> {
  try {
    const { payload } = await jwtVerify(statement, caKey, {
      algorithms: [SIGNATURE],
      typ: 'JWT',
      audience: kid,
      currentDate: new Date(now),
      requiredClaims: ['type', 'package', 'iat', 'nbf', 'exp'],
    })
    if (payload.type !== TYPE) throw invalid('it is not an activation')
    return { exp: payload.exp! }
  } catch (error) {
    if (error instanceof BootstrapError) throw error
    if (error instanceof errors.JWTExpired) throw expired()
    throw invalid('its signature or claims are wrong')
  }
}

function readPublicKey(text: string): KeyObject {
  const bad = (): BootstrapError =>
    new BootstrapError('BOOTSTRAP_INVALID_KEY', 'expected the base64 text that generate-public-key gave (P-521)')
  if (typeof text !== 'string' || text.length > MAX_PUBLIC_KEY_LENGTH || !/^[A-Za-z0-9+/]+={0,2}$/.test(text.trim())) {
    throw bad()
  }
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.from(text.trim(), 'base64'), type: 'spki', format: 'der' })
  } catch {
    throw bad()
  }
  if (key.asymmetricKeyDetails?.namedCurve !== CURVE) throw bad()
  return key
}

/** SHA-256 of the SubjectPublicKeyInfo, 64 hex digits. */
function keyIdOf(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex')
}

function invalid(why: string): BootstrapError {
  return new BootstrapError('BOOTSTRAP_INVALID_TOKEN', `activation token refused: ${why}`)
}

function expired(): BootstrapError {
  return new BootstrapError('BOOTSTRAP_TOKEN_EXPIRED', 'activation token refused: it has expired')
}
