import { compareKeys, prefixEnd } from './key.ts'
import type { ListOptions, ScanRange } from './store.ts'

/** A `ScanRange` or listing reduced to two bounds; an absent bound is open. */
export interface KeyBounds {
  lower?: string
  /** Whether a key equal to `lower` belongs to the range. */
  lowerInclusive: boolean
  /** Always exclusive. */
  upper?: string
}

export function boundsOf(range: ScanRange): KeyBounds {
  const { prefix = '', after, before } = range
  const bounds: KeyBounds = { lowerInclusive: true }
  if (prefix !== '') bounds.lower = prefix
  if (after !== undefined && compareKeys(after, prefix) >= 0) {
    bounds.lower = after
    bounds.lowerInclusive = false
  }
  const end = prefix === '' ? undefined : prefixEnd(prefix)
  const upper = end === undefined || (before !== undefined && compareKeys(before, end) < 0) ? before : end
  if (upper !== undefined) bounds.upper = upper
  return bounds
}

export function within(bounds: KeyBounds, key: string): boolean {
  if (bounds.lower !== undefined) {
    const order = compareKeys(key, bounds.lower)
    if (order < 0 || (order === 0 && !bounds.lowerInclusive)) return false
  }
  return bounds.upper === undefined || compareKeys(key, bounds.upper) < 0
}

/** True when no key can be within. */
export function isEmptyRange(bounds: KeyBounds): boolean {
  if (bounds.lower === undefined || bounds.upper === undefined) return false
  return compareKeys(bounds.lower, bounds.upper) >= 0
}

/** Where the keys behind `list(prefix, options)` lie. */
export function listBounds(prefix: string, options: ListOptions = {}): KeyBounds {
  const end = prefix === '' ? undefined : prefixEnd(prefix)
  const bounds: KeyBounds = end === undefined ? { lowerInclusive: true } : { lowerInclusive: true, upper: end }
  const after = options.after ?? ''
  const slash = after.indexOf('/')
  if (slash >= 0) {
    // Everything inside the folder belongs to a child name that is not after `after`.
    bounds.lower = folderEnd(prefix + after.slice(0, slash + 1))
  } else if (prefix !== '' || after !== '') {
    bounds.lower = prefix + after
    bounds.lowerInclusive = false
  }
  return bounds
}

/** The child of `prefix` that a key below it belongs to: `name` or `name/`. */
export function childName(prefix: string, key: string): string {
  const slash = key.indexOf('/', prefix.length)
  return slash < 0 ? key.slice(prefix.length) : key.slice(prefix.length, slash + 1)
}

/** The smallest key behind all keys of a folder (a string that ends in "/"). */
export function folderEnd(folder: string): string {
  return `${folder.slice(0, -1)}0` // "0" follows "/" in ASCII
}
