/**
 * Activation tokens: Vault's JWT form of a response-wrapping token (ES512, `type: "wrapping"`), so that the secondary learns
 * from the token itself where to unwrap it. The signature lets the primary refuse forgeries before it touches storage.
 *
 * Single use is not enforced here: `jti` names a wrapping token, and the response-wrapping store hands that out once.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, KeyObject } from 'node:crypto'
import { errors, jwtVerify, SignJWT } from 'jose'
import { BootstrapError } from './errors.ts'

const ALGORITHM = 'ES512'
const CURVE = 'secp521r1'
/** Longest token looked at, in characters. A real one has about 500. */
export const MAX_TOKEN_LENGTH = 8192
/** `nbf` lies this far back, for clocks that differ (Vault does the same). */
const BACKDATE_SECONDS = 5

export interface ActivationClaims {
  /** API address of the primary; "" when it has none configured. */
  addr: string
  /** The inner wrapping token. */
  jti: string
  type: 'wrapping'
  accessor: string
  /** Seconds since the epoch. */
  iat: number
  nbf: number
  exp: number
}

export interface TokenKeyPair {
  /** PKCS#8. */
  privateKeyPem: string
  /** SPKI. */
  publicKeyPem: string
}

/** A P-521 key pair for `signActivationToken`. */
export function generateTokenKey(): TokenKeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: CURVE })
  return {
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }) as string,
  }
}

export interface ActivationTokenInput {
  addr: string
  jti: string
  /** Seconds, above 0. */
  ttl: number
  /** Milliseconds since the epoch. */
  now: number
  /** Default "". */
  accessor?: string
}

/** `key` is a P-521 private key: PKCS#8 PEM or a KeyObject. */
export async function signActivationToken(key: string | KeyObject, input: ActivationTokenInput): Promise<string> {
  if (!(input.ttl > 0) || !Number.isFinite(input.ttl)) throw invalid('ttl must be above 0 seconds')
  if (input.jti === '') throw invalid('jti is empty')
  const iat = Math.floor(input.now / 1000)
  const claims: ActivationClaims = {
    accessor: input.accessor ?? '',
    addr: input.addr,
    exp: iat + Math.ceil(input.ttl),
    iat,
    jti: input.jti,
    nbf: iat - BACKDATE_SECONDS,
    type: 'wrapping',
  }
  return new SignJWT({ ...claims }).setProtectedHeader({ alg: ALGORITHM, typ: 'JWT' }).sign(readKey(key, 'private'))
}

/** Checks signature, algorithm, times and claims on the side that signed. `now` in milliseconds. */
export async function verifyActivationToken(
  key: string | KeyObject,
  token: string,
  now: number,
): Promise<ActivationClaims> {
  const publicKey = readKey(key, 'public')
  if (typeof token !== 'string' || token.length > MAX_TOKEN_LENGTH) throw invalid('it is too long')
  try {
    const { payload } = await jwtVerify(token, publicKey, {
      algorithms: [ALGORITHM],
      typ: 'JWT',
      currentDate: new Date(now),
      requiredClaims: ['addr', 'jti', 'type', 'iat', 'nbf', 'exp'],
    })
    return readClaims(payload)
  } catch (error) {
    if (error instanceof BootstrapError) throw error
    if (error instanceof errors.JWTExpired) throw expired()
    throw invalid('its signature or claims are wrong')
  }
}

/**
 * The claims without verifying the signature, for the secondary: it holds no key of the primary yet and needs only `addr` and
 * `exp`. Trust comes later, from the unwrapped package. `now` in milliseconds.
 */
export function readActivationToken(
  token: string,
  now: number,
  options: {
    /** Accept a token without `addr`, because the operator gave `primary_api_addr`. Default false. */
    addrOptional?: boolean
  } = {},
): ActivationClaims {
  if (typeof token !== 'string') throw invalid('it is not a JWT')
  if (token.length > MAX_TOKEN_LENGTH) throw invalid('it is too long')
  const parts = token.trim().split('.')
  if (parts.length !== 3 || parts.some((part) => !/^[A-Za-z0-9_-]+$/.test(part))) throw invalid('it is not a JWT')
  const header = decode(parts[0]!)
  if (header.alg !== ALGORITHM) throw invalid(`it is not signed with ${ALGORITHM}`)
  const payload = decode(parts[1]!)
  if (!options.addrOptional && (payload.addr === undefined || payload.addr === '')) {
    throw invalid('it names no API address of the primary (addr); set api_addr there, or give primary_api_addr')
  }
  const claims = readClaims({ addr: '', ...payload })
  if (claims.addr !== '' && !/^https?:\/\/[^\s/?#@]+\/?$/.test(claims.addr))
    throw invalid('its addr is not an http(s) URL')
  if (claims.exp * 1000 <= now) throw expired()
  return claims
}

function decode(part: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
  } catch {
    throw invalid('it is not a JWT')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('it is not a JWT')
  return value as Record<string, unknown>
}

function readClaims(payload: Record<string, unknown>): ActivationClaims {
  const text = (name: string, fallback?: string): string => {
    const value = payload[name] ?? fallback
    if (typeof value !== 'string') throw invalid(`its claim ${name} is missing or not a string`)
    return value
  }
  const time = (name: string, fallback?: number): number => {
    const value = payload[name] ?? fallback
    if (typeof value !== 'number' || !Number.isFinite(value))
      throw invalid(`its claim ${name} is missing or not a number`)
    return value
  }
  if (text('type') !== 'wrapping') throw invalid('its type is not wrapping')
  const jti = text('jti')
  if (jti === '') throw invalid('its claim jti is empty')
  const iat = time('iat')
  // Older Vault versions send neither accessor nor nbf.
  return {
    addr: text('addr'),
    jti,
    type: 'wrapping',
    accessor: text('accessor', ''),
    iat,
    nbf: time('nbf', iat),
    exp: time('exp'),
  }
}

function readKey(key: string | KeyObject, type: 'private' | 'public'): KeyObject {
  let read: KeyObject
  try {
    read = key instanceof KeyObject ? key : type === 'private' ? createPrivateKey(key) : createPublicKey(key)
  } catch {
    throw new BootstrapError('BOOTSTRAP_INVALID_KEY', `not a ${type} key in PEM`)
  }
  if (read.type !== type || read.asymmetricKeyDetails?.namedCurve !== CURVE) {
    throw new BootstrapError('BOOTSTRAP_INVALID_KEY', `activation tokens need a P-521 ${type} key`)
  }
  return read
}

function invalid(why: string) {
  return new BootstrapError('BOOTSTRAP_INVALID_TOKEN', `activation token refused: ${why}`)
}

function expired() {
  return new BootstrapError('BOOTSTRAP_TOKEN_EXPIRED', 'activation token refused: it has expired')
}
