import { refuse } from '../token-params.ts'

/** JSON object of strings, or "k=v" pairs split at commas, as Vault's clients send it. */
export function parseMetadata(text: string): Record<string, string> {
  const trimmed = text.trim()
  if (trimmed === '') return {}
  const pairs = jsonPairs(trimmed) ?? trimmed.split(',').map((pair) => splitPair(pair.trim()))
  return Object.fromEntries(pairs)
}

function jsonPairs(text: string): [string, string][] | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const pairs = Object.entries(value)
  return pairs.every((pair): pair is [string, string] => typeof pair[1] === 'string') ? pairs : undefined
}

function splitPair(pair: string): [string, string] {
  const equals = pair.indexOf('=')
  if (equals < 1) refuse('failed to parse metadata: failed to parse the input: invalid <key,value> format')
  return [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()]
}
