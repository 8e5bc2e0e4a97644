import { constants, type KeyObject, sign as signMessage, verify as verifyMessage } from 'node:crypto'
import { signDigest, verifyDigest } from './ecdsa-digest.ts'
import type { HashAlgorithm } from './hash-algorithm.ts'
import { type KeyType, traitsOf } from './key-type.ts'
import type { KeyVersion } from './key-version.ts'
import { signPkcs1, signPss, verifyPkcs1, verifyPss } from './rsa-digest.ts'
import { refuse } from './transit-key.ts'

export interface SignatureOptions {
  /** undefined = none, for pkcs1v15 over a prepared input. Not used by ed25519. */
  hash: HashAlgorithm | undefined
  /** The input is already the digest. */
  prehashed: boolean
  /** RSA. */
  scheme: 'pss' | 'pkcs1v15'
  /** RSA-PSS, bytes; undefined = longest when signing, any when verifying. */
  saltLength: number | undefined
  /** ECDSA: DER in base64, or r ‖ s in base64url. */
  marshaling: 'asn1' | 'jws'
  /** Derivation context of derived ed25519 keys. */
  context: Buffer | undefined
}

/** The signature as text, still without `vault:vN:`. */
export function sign(type: KeyType, version: KeyVersion, input: Buffer, options: SignatureOptions): string {
  const { rsaBits, curve, ed25519 } = traitsOf(type)
  if (ed25519) return signMessage(null, input, version.privateKey(options.context)).toString('base64')
  if (curve !== undefined) return signEcdsa(version, curve, input, options)
  if (rsaBits !== undefined) return signRsa(version.privateKey(), input, options).toString('base64')
  return refuse(`key type ${type} does not support signing`)
}

export function verify(
  type: KeyType,
  version: KeyVersion,
  input: Buffer,
  signature: string,
  options: SignatureOptions,
): boolean {
  const { rsaBits, curve, ed25519 } = traitsOf(type)
  if (!ed25519 && curve === undefined && rsaBits === undefined) {
    refuse(`key type ${type} does not support verification`)
  }
  const jws = curve !== undefined && options.marshaling === 'jws'
  const bytes = Buffer.from(signature, jws ? 'base64url' : 'base64')
  if (bytes.toString(jws ? 'base64url' : 'base64') !== signature) refuse('invalid base64 signature value')
  if (ed25519) return bytes.length === 64 && verifyMessage(null, input, version.publicKey(options.context), bytes)
  if (curve === undefined) return verifyRsa(version.publicKey(), input, bytes, options)

  if (!jws && !isDerPair(bytes)) refuse('supplied signature is invalid')
  if (options.prehashed) {
    const raw = jws ? bytes : fromDer(bytes, curve.scalarLength)
    return raw !== undefined && verifyDigest(version.publicKey(), curve.jwk, input, raw)
  }
  const dsaEncoding = jws ? ('ieee-p1363' as const) : ('der' as const)
  return verifyMessage(options.hash!.node, input, { key: version.publicKey(), dsaEncoding }, bytes)
}

type Curve = NonNullable<ReturnType<typeof traitsOf>['curve']>

function signEcdsa(version: KeyVersion, curve: Curve, input: Buffer, options: SignatureOptions): string {
  const jws = options.marshaling === 'jws'
  const raw = options.prehashed
    ? signDigest(version.privateKey(), curve.jwk, input)
    : signMessage(options.hash!.node, input, { key: version.privateKey(), dsaEncoding: 'ieee-p1363' })
  return jws ? raw.toString('base64url') : toDer(raw).toString('base64')
}

function signRsa(key: KeyObject, input: Buffer, options: SignatureOptions): Buffer {
  const { hash, scheme } = options
  if (options.prehashed) checkDigest(hash, input)
  try {
    if (scheme === 'pkcs1v15') {
      if (options.prehashed || hash === undefined) return signPkcs1(key, hash, input)
      return signMessage(hash.node, input, { key, padding: constants.RSA_PKCS1_PADDING })
    }
    if (options.prehashed) return signPss(key, hash!, input, options.saltLength)
    const saltLength = options.saltLength ?? constants.RSA_PSS_SALTLEN_MAX_SIGN
    return signMessage(hash!.node, input, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength })
  } catch {
    // Nothing but sizes can be wrong here: key, hash and salt do not fit together.
    return refuse('crypto/rsa: key size too small for the hash and salt length')
  }
}

function verifyRsa(key: KeyObject, input: Buffer, signature: Buffer, options: SignatureOptions): boolean {
  const { hash, scheme } = options
  if (options.prehashed) checkDigest(hash, input)
  if (scheme === 'pkcs1v15') {
    if (options.prehashed || hash === undefined) return verifyPkcs1(key, hash, input, signature)
    return verifyMessage(hash.node, input, { key, padding: constants.RSA_PKCS1_PADDING }, signature)
  }
  if (options.prehashed) return verifyPss(key, hash!, input, signature, options.saltLength)
  const saltLength = options.saltLength ?? constants.RSA_PSS_SALTLEN_AUTO
  return verifyMessage(hash!.node, input, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signature)
}

function checkDigest(hash: HashAlgorithm | undefined, digest: Buffer): void {
  if (hash !== undefined && digest.length !== hash.length) refuse('crypto/rsa: input must be hashed with given hash')
}

// DER of an ECDSA signature: SEQUENCE { INTEGER r, INTEGER s }; lengths stay below 128 but for P-521's outer one.

function toDer(raw: Buffer): Buffer {
  const half = raw.length / 2
  const body = Buffer.concat([derInteger(raw.subarray(0, half)), derInteger(raw.subarray(half))])
  const length = body.length < 128 ? [body.length] : [0x81, body.length]
  return Buffer.concat([Buffer.from([0x30, ...length]), body])
}

function derInteger(scalar: Buffer): Buffer {
  let start = 0
  while (start < scalar.length - 1 && scalar[start] === 0) start++
  const digits = scalar.subarray(start)
  const sign = digits[0]! >= 128 ? [0] : []
  return Buffer.concat([Buffer.from([0x02, digits.length + sign.length, ...sign]), digits])
}

function isDerPair(der: Buffer): boolean {
  return derIntegers(der) !== undefined
}

function fromDer(der: Buffer, scalarLength: number): Buffer | undefined {
  const integers = derIntegers(der)?.map((integer) => (integer[0] === 0 ? integer.subarray(1) : integer))
  if (integers === undefined || integers.some((integer) => integer.length > scalarLength)) return undefined
  return Buffer.concat(integers.map((integer) => Buffer.concat([Buffer.alloc(scalarLength - integer.length), integer])))
}

function derIntegers(der: Buffer): Buffer[] | undefined {
  const head = der[1] === 0x81 ? 3 : 2
  if (der[0] !== 0x30 || der[head - 1] !== der.length - head) return undefined
  const integers: Buffer[] = []
  for (let position = head; position < der.length; ) {
    const length = der[position + 1]
    if (der[position] !== 0x02 || length === undefined || length === 0 || length > 127) return undefined
    const integer = der.subarray(position + 2, position + 2 + length)
    if (integer.length !== length || integer[0]! >= 128) return undefined
    integers.push(integer)
    position += 2 + length
  }
  return integers.length === 2 ? integers : undefined
}
