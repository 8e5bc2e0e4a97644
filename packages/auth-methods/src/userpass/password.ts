/**
 * Password hashes: scrypt (RFC 7914) in PHC text, `$scrypt$ln=14,r=8,p=5$<salt>$<hash>`, base64 without padding.
 */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

const derive = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt)

// One of OWASP's equivalent settings, the one with the least memory (16 MiB) for a busy login path.
const cost = { ln: 14, r: 8, p: 5 }
const saltLength = 16
const hashLength = 32
const pattern = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/

/** Longest password, bytes; a bound on the work a client can ask for. */
export const maxPasswordLength = 1024

interface ParsedHash {
  ln: number
  r: number
  p: number
  salt: Buffer
  hash: Buffer
}

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(saltLength)
  const hash = await run(password, { ...cost, salt, hash: Buffer.alloc(hashLength) })
  return `$scrypt$ln=${cost.ln},r=${cost.r},p=${cost.p}$${unpadded(salt)}$${unpadded(hash)}`
}

/** Takes as long for `undefined` (no such user) as for a hash of the default cost. */
export async function verifyPassword(password: string, stored: string | undefined): Promise<boolean> {
  const parsed = stored === undefined ? undefined : parseHash(stored)
  const expected = parsed ?? { ...cost, salt: Buffer.alloc(saltLength), hash: Buffer.alloc(hashLength) }
  const actual = await run(password, expected)
  return timingSafeEqual(actual, expected.hash) && parsed !== undefined
}

/** Whether the text is a hash this module can verify, at a cost it is willing to pay. */
export function isPasswordHash(text: string): boolean {
  return parseHash(text) !== undefined
}

function parseHash(text: string): ParsedHash | undefined {
  const match = pattern.exec(text)
  if (match === null) return undefined
  const [ln, r, p] = [Number(match[1]), Number(match[2]), Number(match[3])]
  // At most 128 MiB and sixteen times the default work; at least 1 MiB.
  const memory = 128 * r * 2 ** ln
  if (ln < 10 || r < 1 || p < 1 || memory < 2 ** 20 || memory > 2 ** 27 || memory * p > 2 ** 24 * 5 * 16)
    return undefined
  return { ln, r, p, salt: Buffer.from(match[4]!, 'base64'), hash: Buffer.from(match[5]!, 'base64') }
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}

// Hashing runs in libuv's pool of four threads, which storage needs too: never take more than two of them.
const limit = 2
const maxWaiting = 1000
let running = 0
const waiting: (() => void)[] = []

async function run(password: string, { ln, r, p, salt, hash }: ParsedHash): Promise<Buffer> {
  if (running >= limit) {
    if (waiting.length >= maxWaiting) throw new Error('too many logins at once')
    await new Promise<void>((resolve) => waiting.push(resolve))
  } else running++
  try {
    return await derive(password, salt, hash.length, { N: 2 ** ln, r, p, maxmem: 256 * 2 ** 20 })
  } finally {
    const next = waiting.shift()
    // The slot passes on directly, so `running` stays as it is.
    if (next !== undefined) next()
    else running--
  }
}
