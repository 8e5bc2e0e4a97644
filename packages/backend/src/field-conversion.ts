import { parseDuration } from './duration.ts'
import { isLosslessNumber } from './lossless-number.ts'

/** Why a value does not fit its field; never quotes the value, which may be secret. */
export class ConversionError extends Error {
  override readonly name = 'ConversionError'
}

const trueTexts = new Set(['1', 't', 'T', 'TRUE', 'true', 'True'])
const falseTexts = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False'])

export function convertString(raw: unknown): string {
  if (typeof raw === 'string') return raw
  if (raw === null) return ''
  if (typeof raw === 'boolean') return raw ? '1' : '0'
  if (typeof raw === 'number' || isLosslessNumber(raw)) return raw.toString()
  throw new ConversionError(mismatch('string', raw))
}

export function convertInt(raw: unknown): number | undefined {
  if (raw === null) return undefined
  if (typeof raw === 'boolean') return raw ? 1 : 0
  const text = numericText(raw)
  if (text === undefined) throw new ConversionError(mismatch('int', raw))
  if (text === '') return 0
  if (!/^[+-]?[0-9]+$/.test(text)) {
    throw new ConversionError("'' cannot parse value as 'int': strconv.ParseInt: invalid syntax")
  }
  const value = Number(text)
  if (!Number.isSafeInteger(value)) {
    throw new ConversionError("'' cannot parse value as 'int': strconv.ParseInt: value out of range")
  }
  return value
}

export function convertBool(raw: unknown): boolean | undefined {
  if (typeof raw === 'boolean') return raw
  if (raw === null) return undefined
  if (typeof raw === 'number' || isLosslessNumber(raw)) return Number(raw.toString()) !== 0
  if (typeof raw !== 'string') throw new ConversionError(mismatch('bool', raw))
  if (trueTexts.has(raw)) return true
  if (raw === '' || falseTexts.has(raw)) return false
  throw new ConversionError("'' cannot parse value as 'bool': strconv.ParseBool: invalid syntax")
}

export function convertSignedDuration(raw: unknown): number | undefined {
  if (raw === null) return undefined
  const text = numericText(raw)
  if (text === undefined) throw new ConversionError('could not parse duration from input')
  try {
    return parseDuration(text)
  } catch (error) {
    throw new ConversionError((error as Error).message)
  }
}

export function convertDuration(raw: unknown): number | undefined {
  const seconds = convertSignedDuration(raw)
  if (seconds !== undefined && seconds < 0) throw new ConversionError(`cannot provide negative value '${seconds}'`)
  return seconds
}

export function convertCommaStringList(raw: unknown): string[] {
  if (raw === null || raw === '') return []
  if (typeof raw === 'string') return (jsonStrings(raw) ?? raw.split(',')).map((entry) => entry.trim())
  return convertList(raw).map((entry) => convertString(entry).trim())
}

export function convertCommaIntList(raw: unknown): number[] {
  return convertCommaStringList(raw).map((entry) => convertInt(entry) ?? 0)
}

export function convertStringMap(raw: unknown): Record<string, string> {
  if (raw === null) return {}
  const source = typeof raw === 'string' ? (jsonObject(raw) ?? [raw]) : raw
  if (!Array.isArray(source)) {
    return Object.fromEntries(Object.entries(convertMap(source)).map(([key, value]) => [key, convertString(value)]))
  }
  return Object.fromEntries(
    source.map((entry) => {
      const pair = convertString(entry)
      const equals = pair.indexOf('=')
      if (equals < 1) throw new ConversionError('invalid key pair')
      return [pair.slice(0, equals), pair.slice(equals + 1)]
    }),
  )
}

export function convertMap(raw: unknown): Record<string, unknown> {
  // PHP clients send an empty object as [].
  if (raw === null || (Array.isArray(raw) && raw.length === 0)) return {}
  if (typeof raw === 'object' && !Array.isArray(raw) && !isLosslessNumber(raw)) return raw as Record<string, unknown>
  throw new ConversionError(mismatch('map[string]interface {}', raw))
}

export function convertList(raw: unknown): unknown[] {
  if (raw === null) return []
  return Array.isArray(raw) ? raw : [raw]
}

function numericText(raw: unknown): string | undefined {
  if (typeof raw === 'string') return raw.trim()
  return typeof raw === 'number' || isLosslessNumber(raw) ? raw.toString() : undefined
}

function jsonStrings(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined
  const value = parsed(text)
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string') ? value : undefined
}

function jsonObject(text: string): object | undefined {
  const value = text.startsWith('{') ? parsed(text) : undefined
  return typeof value === 'object' && value !== null ? value : undefined
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

// Go's type names, because clients' test suites look for the peers' wording.
function mismatch(expected: string, raw: unknown): string {
  return `'' expected type '${expected}', got unconvertible type '${goType(raw)}'`
}

function goType(raw: unknown): string {
  if (Array.isArray(raw)) return '[]interface {}'
  if (typeof raw === 'number' || isLosslessNumber(raw)) return 'json.Number'
  if (typeof raw === 'boolean') return 'bool'
  return typeof raw === 'object' ? 'map[string]interface {}' : 'string'
}
