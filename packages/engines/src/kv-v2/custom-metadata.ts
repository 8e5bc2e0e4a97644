import { BackendError, isLosslessNumber } from '@lockstep/backend'

const maxKeys = 64
const maxKeyLength = 128
const maxValueLength = 512
const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u

/**
 * Checks a client's `custom_metadata` against Vault's limits. Numbers and booleans become text. In a patch `null` stays: it removes;
 * else it counts as empty text.
 */
export function customMetadata(
  given: Record<string, unknown>,
  options?: { patch: boolean },
): Record<string, string | null> {
  const entries = Object.entries(given).map(
    ([key, value]) => [key, value === null && !options?.patch ? '' : text(value)] as const,
  )
  const problems =
    entries.length > maxKeys
      ? [`payload must contain at most ${maxKeys} keys, provided ${entries.length}`]
      : entries
          .toSorted(([a], [b]) => (a < b ? -1 : 1))
          .flatMap(([key, value]) => [...keyProblems(key), ...valueProblems(key, value)])
  if (problems.length > 0) {
    const heading = problems.length === 1 ? '1 error' : `${problems.length} errors`
    const lines = problems.map((problem) => `\t* custom_metadata validation failed: ${problem}\n`)
    throw new BackendError('BACKEND_INVALID_REQUEST', `${heading} occurred:\n${lines.join('')}\n`)
  }
  return Object.fromEntries(entries)
}

function keyProblems(key: string): string[] {
  const quoted = JSON.stringify(key)
  const length = Buffer.byteLength(key)
  if (length === 0 || length > maxKeyLength) {
    return [`length of key ${quoted} is ${length} but must be 0 < len(key) <= ${maxKeyLength}`]
  }
  return printable.test(key) ? [] : [`key ${quoted} (${key}) contains unprintable characters`]
}

function valueProblems(key: string, value: string | null): string[] {
  if (value === null) return []
  const quoted = JSON.stringify(key)
  const length = Buffer.byteLength(value)
  if (length === 0 || length > maxValueLength) {
    return [`length of value for key ${quoted} is ${length} but must be 0 < len(value) <= ${maxValueLength}`]
  }
  return printable.test(value) ? [] : [`value for key ${quoted} contains unprintable characters`]
}

function text(value: unknown): string | null {
  if (value === null) return null
  if (typeof value === 'string') return value
  if (typeof value === 'boolean') return value ? '1' : '0'
  if (typeof value === 'number' || isLosslessNumber(value)) return value.toString()
  const type = Array.isArray(value) ? '[]interface {}' : 'map[string]interface {}'
  const reason = `'' expected type 'string', got unconvertible type '${type}'`
  throw new BackendError('BACKEND_INVALID_REQUEST', `custom_metadata validation failed: ${reason}`)
}
