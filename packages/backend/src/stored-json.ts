import type { Reader, Transaction } from '@lockstep/storage'
import { isLosslessNumber } from './lossless-number.ts'

/** The JSON value stored under `key`, or undefined. Numbers come back as JavaScript numbers. Rejects when it is no JSON. */
export async function readJson<T>(reader: Pick<Reader, 'get'>, key: string): Promise<T | undefined> {
  const bytes = await reader.get(key)
  if (bytes === undefined) return undefined
  try {
    return JSON.parse(jsonText(bytes)) as T
  } catch {
    // The parser's own words quote what it was given, which may be a secret.
    throw new Error(`the record ${key} is not JSON`)
  }
}

/** Stores `value` as UTF-8 JSON; `LosslessNumber`s are written digit by digit. */
export function writeJson(writer: Pick<Transaction, 'put'>, key: string, value: unknown): Promise<void> {
  return writer.put(key, Buffer.from(stringifyJson(value)))
}

export function jsonText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}

/** `JSON.stringify` that writes a `LosslessNumber` as the number text it was parsed from. */
export function stringifyJson(value: unknown): string {
  return hasLosslessNumber(value) ? stringifyLossless(value) : (JSON.stringify(value) ?? 'null')
}

export function hasLosslessNumber(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (isLosslessNumber(value)) return true
  if (Array.isArray(value)) return value.some(hasLosslessNumber)
  for (const key in value) if (hasLosslessNumber((value as Record<string, unknown>)[key])) return true
  return false
}

function stringifyLossless(value: unknown): string {
  if (isLosslessNumber(value)) return value.toString()
  if (Array.isArray(value)) return `[${value.map(stringifyLossless).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const members: string[] = []
  for (const [key, member] of Object.entries(value)) {
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${stringifyLossless(member)}`)
  }
  return `{${members.join(',')}}`
}
