/** Makes values fit to be logged: strings become keyed hashes, by which whoever knows a value can find it, and nobody else read it. */
import { createHmac } from 'node:crypto'
import { isLosslessNumber } from '@lockstep/backend'
import { recentCache } from '../token/recent-cache.ts'

export interface Redaction {
  /** `hmac-sha256:<hex>`. */
  hash(text: string): string
  /** The same for tokens and accessors, which come again and again. */
  hashToken(text: string): string
  /** A copy with every string value hashed; keys, numbers, booleans and times stay. Top-level `clear` keys keep their values. */
  redact(value: unknown, clear?: readonly string[]): unknown
}

type Show = (text: string) => string

const REMEMBERED_TOKENS = 1024
const asIs: Show = (text) => text

export function redaction(salt: Uint8Array): Redaction {
  const known = recentCache<string, string>(REMEMBERED_TOKENS)
  const hash: Show = (text) => `hmac-sha256:${createHmac('sha256', salt).update(text).digest('hex')}`
  return {
    hash,
    hashToken(text) {
      const hashed = known.get(text) ?? hash(text)
      known.set(text, hashed)
      return hashed
    },
    redact: (value, clear = []) => copy(value, hash, clear),
  }
}

/** A copy fit for JSON, with nothing hidden. */
export function unredacted(value: unknown): unknown {
  return copy(value, asIs, [])
}

function copy(value: unknown, show: Show, clear: readonly string[]): unknown {
  if (typeof value === 'string') return show(value)
  if (typeof value === 'bigint') return value.toString()
  if (typeof value !== 'object' || value === null || isLosslessNumber(value)) return value
  if (value instanceof Date) return value.toJSON()
  if (Array.isArray(value)) return value.map((item) => copy(item, show, []))
  if (value instanceof Uint8Array) return show(Buffer.from(value).toString('base64'))
  // Without a prototype, a key such as __proto__ is a key like any other.
  const out: Record<string, unknown> = Object.create(null)
  for (const [key, member] of Object.entries(value)) out[key] = copy(member, clear.includes(key) ? asIs : show, [])
  return out
}
