/**
 * JSON whose number text survives: `1.0` stays `1.0` and a 30-digit integer keeps its digits, as Vault's clients expect of a
 * secret they stored. JSON.parse does the work unless a body holds a number it would change.
 */
import { LosslessNumber, parse } from 'lossless-json'

/** May also match inside strings; that only costs the slower parser. Integers up to 15 digits are exact. */
const UNSAFE_NUMBER = /[:[,\s](?:-0|-?(?:\d{16}|\d+[.eE]))/

export function parseJson(text: string): unknown {
  return UNSAFE_NUMBER.test(text)
    ? parse(text, undefined, { parseNumber, onDuplicateKey: ({ newValue }) => newValue })
    : JSON.parse(text)
}

function parseNumber(text: string): unknown {
  const number = Number(text)
  return String(number) === text ? number : new LosslessNumber(text)
}

export function stringifyJson(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null'
  // A search in the finished text is cheaper than a walk over the value, and a false alarm is harmless.
  return text.includes('"isLosslessNumber":true') ? write(value) : text
}

function write(value: unknown): string {
  if (isLosslessNumber(value)) return value.value
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${value.map(write).join(',')}]`
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') return JSON.stringify(value) ?? 'null'
  const members: string[] = []
  for (const [key, member] of Object.entries(value)) {
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${write(member)}`)
  }
  return `{${members.join(',')}}`
}

const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/

/** A client can send an object of the same shape, but only as a plain object; its text must not be written verbatim. */
function isLosslessNumber(value: unknown): value is { value: string } {
  if (typeof value !== 'object' || value === null) return false
  const { isLosslessNumber: marked, value: text } = value as { isLosslessNumber?: unknown; value?: unknown }
  if (marked !== true || typeof text !== 'string' || !NUMBER.test(text)) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype !== Object.prototype && prototype !== null
}
