/** The last line of defence against secrets in logs; the first is not passing them in. */
const SECRET_KEY =
  /token|secret|password|passphrase|private|credential|authorization|^keys?$|_key$|keys_base64|otp|jti/i
/** Names that match above and hold no secret. */
const HARMLESS = /^(?:token_?(?:type|ttl)|.*_?accessor|public_?key|key_?(?:id|term|type)|secret_(?:shares|threshold))$/i
/** Vault token families and JWTs inside a text. */
const SECRET_TEXT =
  /\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{20,}|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+|-----BEGIN [A-Z ]*PRIVATE KEY-----/g
const MAX_DEPTH = 6

export const REDACTED = '[redacted]'

export function redactText(text: string): string {
  return text.replace(SECRET_TEXT, REDACTED)
}

export function redactFields(fields: Record<string, unknown>): Record<string, unknown> {
  return redact(fields, 0) as Record<string, unknown>
}

function redact(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object' || value === null) return value
  if (depth >= MAX_DEPTH) return '[nested]'
  if (value instanceof Date) return value
  // Bytes are keys or ciphertext, never worth reading in a log.
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (value instanceof Error) return redactText(`${value.name}: ${value.message}`)
  if (Array.isArray(value)) return value.map((element) => redact(element, depth + 1))
  const copy: Record<string, unknown> = {}
  for (const [key, member] of Object.entries(value)) {
    copy[key] = SECRET_KEY.test(key) && !HARMLESS.test(key) && member !== '' ? REDACTED : redact(member, depth + 1)
  }
  return copy
}
