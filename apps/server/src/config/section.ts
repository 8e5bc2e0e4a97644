/**
 * Typed reading of one parsed HCL or JSON block. Every key that is read is known; `finish` reports the rest. Values are as
 * lenient as Vault's: a boolean may be written `true`, `"true"` or `1`, a number as text.
 */
import { parseDuration } from '@lockstep/backend'
import { parseBool } from '../http/parse-bool.ts'
import { ConfigError } from './config-error.ts'
import { parseSize } from './size.ts'

export interface Section {
  /** For messages: `file.hcl: listener "tcp"`. */
  readonly where: string
  has(key: string): boolean
  string(key: string): string | undefined
  boolean(key: string): boolean | undefined
  integer(key: string): number | undefined
  /** A whole number of up to 64 bits, not negative. What no number of JSON can hold is written as text. */
  unsigned(key: string): bigint | undefined
  /** Milliseconds. A bare number is seconds. */
  duration(key: string): number | undefined
  /** Bytes. */
  size(key: string): number | undefined
  /** A list of texts, or one text with commas. */
  strings(key: string): string[] | undefined
  /** The blocks `key { ... }`. */
  sections(key: string): Section[]
  /** The blocks `key "label" { ... }`, with their labels. */
  labelled(key: string): { label: string; section: Section }[]
  /** Every member, for blocks whose names are free. */
  entries(): [string, unknown][]
  /** Marks keys as known without reading them. */
  ignore(...keys: string[]): void
  /** Throws: `<where>: <key> must be <expected>`. */
  refuse(key: string, expected: string): never
  /** Keys nobody asked for, here and in the blocks read from here. */
  unknown(): { where: string; key: string }[]
}

export function section(members: Record<string, unknown>, where: string): Section {
  const known = new Set<string>()
  const children: Section[] = []
  const values = new Map(Object.entries(members))

  const refuse = (key: string, expected: string): never => {
    throw new ConfigError(`${where}: ${key} must be ${expected}`)
  }
  const read = (key: string): unknown => {
    known.add(key)
    return values.get(key)
  }
  /** HCL has no lone object: a block is a list with one element per repetition. */
  const objects = (key: string): Record<string, unknown>[] => {
    const value = read(key)
    if (value === undefined) return []
    const list = Array.isArray(value) ? value : [value]
    for (const element of list) if (!isObject(element)) refuse(key, 'a block')
    return list as Record<string, unknown>[]
  }
  const child = (block: Record<string, unknown>, at: string): Section => {
    const made = section(block, at)
    children.push(made)
    return made
  }
  const number = (key: string, expected: string, parse: (text: string) => number | undefined): number | undefined => {
    const value = read(key)
    if (value === undefined) return undefined
    const parsed = typeof value === 'number' || typeof value === 'string' ? parse(String(value)) : undefined
    return parsed ?? refuse(key, expected)
  }

  return {
    where,
    has: (key) => values.has(key),
    string(key) {
      const value = read(key)
      return value === undefined || typeof value === 'string' ? value : refuse(key, 'a string')
    },
    boolean(key) {
      const value = read(key)
      if (value === undefined || typeof value === 'boolean') return value
      const parsed = typeof value === 'string' || typeof value === 'number' ? parseBool(String(value)) : undefined
      return parsed ?? refuse(key, 'true or false')
    },
    integer: (key) =>
      number(key, 'a whole number', (text) => (/^-?\d{1,15}$/.test(text.trim()) ? Number(text) : undefined)),
    unsigned(key) {
      const value = read(key)
      if (value === undefined) return undefined
      const text = typeof value === 'string' || Number.isSafeInteger(value) ? String(value).trim() : ''
      if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 2n ** 64n) refuse(key, 'a whole number in quotes')
      return BigInt(text)
    },
    duration: (key) =>
      number(key, 'a duration such as "90s" or "768h"', (text) => {
        try {
          const milliseconds = subSecond(text) ?? parseDuration(text) * 1000
          return milliseconds >= 0 ? milliseconds : undefined
        } catch {
          return undefined
        }
      }),
    size: (key) => number(key, 'a size in bytes or such as "512mib"', parseSize),
    strings(key) {
      const value = read(key)
      if (value === undefined) return undefined
      if (typeof value === 'string')
        return value
          .split(',')
          .map((text) => text.trim())
          .filter((text) => text !== '')
      if (Array.isArray(value) && value.every((element) => typeof element === 'string')) return value as string[]
      return refuse(key, 'a list of strings')
    },
    sections: (key) => objects(key).map((members) => child(members, `${where}: ${key}`)),
    labelled: (key) =>
      objects(key).flatMap((block) =>
        Object.entries(block).flatMap(([label, value]) => {
          const bodies = Array.isArray(value) ? value : [value]
          return bodies.map((body) => {
            if (!isObject(body)) throw new ConfigError(`${where}: ${key} must be written ${key} "type" { ... }`)
            return { label, section: child(body, `${where}: ${key} "${label}"`) }
          })
        }),
      ),
    entries() {
      for (const key of values.keys()) known.add(key)
      return [...values]
    },
    ignore(...keys) {
      for (const key of keys) known.add(key)
    },
    refuse,
    unknown: () => [
      ...[...values.keys()].filter((key) => !known.has(key)).map((key) => ({ where, key })),
      ...children.flatMap((made) => made.unknown()),
    ],
  }
}

/** `parseDuration` counts whole seconds; settings such as "500ms" need less. */
function subSecond(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)ms$/.exec(text.trim())
  return match === null ? undefined : Number(match[1])
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
