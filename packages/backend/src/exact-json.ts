/**
 * A user's JSON object as bytes, number texts kept: one flag byte, then UTF-8 JSON. Flag 1 means that some number's text would not survive
 * JavaScript's number type (1.00, 12345678901234567890), so reading takes the slower parser that keeps it.
 */
import { LosslessNumber, parse } from 'lossless-json'
import { isLosslessNumber } from './lossless-number.ts'
import { jsonText, stringifyJson } from './stored-json.ts'

const plain = 0
const lossless = 1

export function encodeExactJson(data: Record<string, unknown>): Buffer {
  const text = stringifyJson(data)
  const record = Buffer.allocUnsafe(1 + Buffer.byteLength(text))
  record[0] = hasFragileNumber(data) ? lossless : plain
  record.write(text, 1)
  return record
}

/** Throws SyntaxError when the record is damaged */
export function decodeExactJson(record: Uint8Array): Record<string, unknown> {
  const text = jsonText(record.subarray(1))
  if (record[0] === plain) return JSON.parse(text)
  if (record[0] === lossless) return parse(text, undefined, exactNumber) as Record<string, unknown>
  throw new SyntaxError('unknown record')
}

function exactNumber(text: string): number | LosslessNumber {
  return survivesAsNumber(text) ? Number(text) : new LosslessNumber(text)
}

function survivesAsNumber(text: string): boolean {
  return String(Number(text)) === text
}

function hasFragileNumber(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (isLosslessNumber(value)) return !survivesAsNumber(value.toString())
  if (Array.isArray(value)) return value.some(hasFragileNumber)
  for (const key in value) if (hasFragileNumber((value as Record<string, unknown>)[key])) return true
  return false
}
