/**
 * ECDSA (FIPS 186-5, section 6.4) over a digest the client computed: node:crypto only signs what it hashed itself. Signing takes
 * the one secret point multiplication from OpenSSL and blinds the arithmetic around it, because BigInt is not constant time.
 * Verification handles public values only.
 */
import { createECDH, type KeyObject, randomBytes } from 'node:crypto'

type CurveName = 'P-256' | 'P-384' | 'P-521'

interface Curve {
  openssl: string
  /** Bytes of a scalar or coordinate. */
  length: number
  /** Field prime and group order of y² = x³ − 3x + b. */
  p: bigint
  n: bigint
  orderBits: number
}

type Point = readonly [x: bigint, y: bigint, z: bigint]

// NIST SP 800-186, section 3.2.1.
const curves: Record<CurveName, Curve> = {
  'P-256': {
    openssl: 'prime256v1',
    length: 32,
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    orderBits: 256,
  },
  'P-384': {
    openssl: 'secp384r1',
    length: 48,
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    orderBits: 384,
  },
  'P-521': {
    openssl: 'secp521r1',
    length: 66,
    p: 2n ** 521n - 1n,
    n: 0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    orderBits: 521,
  },
}

/** r ‖ s, each as long as a coordinate. */
export function signDigest(privateKey: KeyObject, name: CurveName, digest: Buffer): Buffer {
  const curve = curves[name]
  const { n } = curve
  const d = fromBase64Url(privateKey.export({ format: 'jwk' }).d!)
  const z = truncated(digest, curve)
  for (;;) {
    const k = randomScalar(curve)
    const r = multiplyGenerator(curve, k)[0] % n
    const blind = randomScalar(curve)
    const numerator = (z * blind + r * ((d * blind) % n)) % n
    const s = (numerator * inverse((k * blind) % n, n)) % n
    if (r !== 0n && s !== 0n) return Buffer.concat([toBytes(r, curve), toBytes(s, curve)])
  }
}

export function verifyDigest(publicKey: KeyObject, name: CurveName, digest: Buffer, signature: Buffer): boolean {
  const curve = curves[name]
  const { n } = curve
  if (signature.length !== 2 * curve.length) return false
  const r = fromBytes(signature.subarray(0, curve.length))
  const s = fromBytes(signature.subarray(curve.length))
  if (r === 0n || r >= n || s === 0n || s >= n) return false
  const jwk = publicKey.export({ format: 'jwk' })
  const q: Point = [fromBase64Url(jwk.x!), fromBase64Url(jwk.y!), 1n]
  const w = inverse(s, n)
  const u1 = (truncated(digest, curve) * w) % n
  const u2 = (r * w) % n
  const fromQ = multiply(curve, q, u2)
  const sum = u1 === 0n ? fromQ : add(curve, [...multiplyGenerator(curve, u1), 1n], fromQ)
  if (sum[2] === 0n) return false
  const zInverse = inverse(sum[2], curve.p)
  return ((sum[0] * zInverse * zInverse) % curve.p) % n === r
}

/** The leftmost bits of the digest, as many as the order has. */
function truncated(digest: Buffer, curve: Curve): bigint {
  const excess = digest.length * 8 - curve.orderBits
  const value = fromBytes(digest)
  return (excess > 0 ? value >> BigInt(excess) : value) % curve.n
}

function multiplyGenerator(curve: Curve, scalar: bigint): [x: bigint, y: bigint] {
  const ecdh = createECDH(curve.openssl)
  ecdh.setPrivateKey(toBytes(scalar, curve))
  const point = ecdh.getPublicKey()
  return [fromBytes(point.subarray(1, 1 + curve.length)), fromBytes(point.subarray(1 + curve.length))]
}

function randomScalar(curve: Curve): bigint {
  for (;;) {
    const bytes = randomBytes(curve.length)
    bytes[0]! &= 0xff >> (curve.length * 8 - curve.orderBits)
    const scalar = fromBytes(bytes)
    if (scalar > 0n && scalar < curve.n) return scalar
  }
}

// Points in Jacobian coordinates (x/z², y/z³); z = 0 is the point at infinity. Variable time: public values only.

function multiply(curve: Curve, point: Point, scalar: bigint): Point {
  let result: Point = [1n, 1n, 0n]
  for (const bit of scalar.toString(2)) {
    result = double(curve, result)
    if (bit === '1') result = add(curve, result, point)
  }
  return result
}

function double({ p }: Curve, [x, y, z]: Point): Point {
  if (z === 0n || y === 0n) return [1n, 1n, 0n]
  const zz = (z * z) % p
  const yy = (y * y) % p
  const xyy = (4n * x * yy) % p
  const slope = (3n * (x - zz) * (x + zz)) % p
  const x3 = slope * slope - 2n * xyy
  const y3 = slope * (xyy - x3) - 8n * yy * yy
  return [modulo(x3, p), modulo(y3, p), modulo(2n * y * z, p)]
}

function add(curve: Curve, a: Point, b: Point): Point {
  const { p } = curve
  if (a[2] === 0n) return b
  if (b[2] === 0n) return a
  const aa = (a[2] * a[2]) % p
  const bb = (b[2] * b[2]) % p
  const u1 = (a[0] * bb) % p
  const s1 = (a[1] * bb * b[2]) % p
  const h = modulo(b[0] * aa - u1, p)
  const r = modulo(b[1] * aa * a[2] - s1, p)
  if (h === 0n) return r === 0n ? double(curve, a) : [1n, 1n, 0n]
  const hh = (h * h) % p
  const hhh = (h * hh) % p
  const v = (u1 * hh) % p
  const x = modulo(r * r - hhh - 2n * v, p)
  return [x, modulo(r * (v - x) - s1 * hhh, p), modulo(a[2] * b[2] * h, p)]
}

function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b] = [modulo(value, modulus), modulus]
  let [x, y] = [1n, 0n]
  while (b !== 0n) {
    const quotient = a / b
    ;[a, b] = [b, a % b]
    ;[x, y] = [y, x - quotient * y]
  }
  return modulo(x, modulus)
}

function modulo(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus
  return rest < 0n ? rest + modulus : rest
}

function fromBytes(bytes: Buffer): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${bytes.toString('hex')}`)
}

function fromBase64Url(text: string): bigint {
  return fromBytes(Buffer.from(text, 'base64url'))
}

function toBytes(value: bigint, { length }: Curve): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * length, '0'), 'hex')
}
