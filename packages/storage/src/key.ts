import { StorageError } from './errors.ts'

/** Longest key, in bytes of UTF-8. */
export const MAX_KEY_BYTES = 32 * 1024

// ES2024; every supported Node has it, the type library of our target does not.
const isWellFormed = (String.prototype as unknown as { isWellFormed(this: string): boolean }).isWellFormed

/**
 * The error for a key no store accepts, or undefined for a good one. A key is a non-empty string without lone
 * surrogates, at most `MAX_KEY_BYTES` long.
 */
export function invalidKey(key: string): StorageError | undefined {
  if (typeof key === 'string' && key.length > 0 && isWellFormed.call(key)) {
    // One UTF-16 unit is at most three bytes of UTF-8, so short keys need no counting.
    if (key.length * 3 <= MAX_KEY_BYTES || Buffer.byteLength(key) <= MAX_KEY_BYTES) return undefined
    return new StorageError('STORAGE_INVALID_KEY', `expected a key of at most ${MAX_KEY_BYTES} bytes of UTF-8`)
  }
  if (typeof key !== 'string') {
    return new StorageError('STORAGE_INVALID_KEY', `expected a key that is a string, not ${typeof key}`)
  }
  if (key.length === 0) return new StorageError('STORAGE_INVALID_KEY', 'expected a key that is not empty')
  return new StorageError('STORAGE_INVALID_KEY', 'expected a key of whole Unicode characters, found a lone surrogate')
}

/** The error for a bad prefix of `list`, or undefined. Good ones are "" and valid keys that end in "/". */
export function invalidListPrefix(prefix: string): StorageError | undefined {
  if (prefix === '') return undefined
  if (typeof prefix === 'string' && !prefix.endsWith('/')) {
    return new StorageError('STORAGE_INVALID_KEY', 'expected a list prefix that is empty or ends in "/"')
  }
  return invalidKey(prefix)
}

/** A value that is no byte array is a bug of the caller, not a state of the store. */
export function assertValue(value: Uint8Array): void {
  if (!(value instanceof Uint8Array)) throw new TypeError('expected a value that is a Uint8Array')
}

/** Compares by UTF-8 bytes, the order of every store: negative, zero or positive. */
export function compareKeys(a: string, b: string): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const unitA = a.charCodeAt(i)
    const unitB = b.charCodeAt(i)
    if (unitA !== unitB) return codePointRank(unitA) - codePointRank(unitB)
  }
  return a.length - b.length
}

// UTF-16 puts surrogate pairs (U+10000 and up) before U+E000..U+FFFF, UTF-8 after them.
function codePointRank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}

/** The smallest string greater than every string that starts with `prefix`; undefined when there is none. */
export function prefixEnd(prefix: string): string | undefined {
  const points = [...prefix]
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    const point = last.codePointAt(0)!
    if (point === 0x10ffff) continue
    return points.join('') + String.fromCodePoint(point === 0xd7ff ? 0xe000 : point + 1)
  }
  return undefined
}
