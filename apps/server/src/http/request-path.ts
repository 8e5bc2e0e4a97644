/** The request target, split, decoded and checked as Go's server does it for Vault. */
import { HttpError } from './http-error.ts'

export interface Target {
  /** Decoded, with its leading slash. */
  path: string
  /** Without the question mark. */
  query: string
}

/** Characters that need more than a split: percent signs, empty segments, segments starting with a dot, non-ASCII. */
const UNUSUAL = /%|\/\/|\/\.|[^\x21-\x7e]|\\/
const UNPRINTABLE = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u

/** Throws 400 for paths that cannot be decoded or printed. */
export function parseTarget(url: string): Target | { redirect: string } {
  const mark = url.indexOf('?')
  const raw = mark === -1 ? url : url.slice(0, mark)
  const query = mark === -1 ? '' : url.slice(mark + 1)
  if (raw[0] !== '/') throw new HttpError(400, 'the request target must be a path')
  if (!UNUSUAL.test(raw)) return { path: raw, query }
  const clean = cleanPath(raw)
  if (clean !== raw) return { redirect: query === '' ? clean : `${clean}?${query}` }
  let path: string
  try {
    path = decodeURIComponent(raw)
  } catch {
    throw new HttpError(400, 'the path is not valid percent-encoded UTF-8')
  }
  if (UNPRINTABLE.test(path)) throw new HttpError(400, 'the path contains characters that are not printable')
  if (/(?:^|\/)\.\.?(?:\/|$)/.test(path)) throw new HttpError(400, 'relative paths not supported')
  return { path, query }
}

function cleanPath(path: string): string {
  const kept: string[] = []
  const segments = path.split('/')
  for (const segment of segments) {
    if (segment === '..') kept.pop()
    else if (segment !== '' && segment !== '.') kept.push(segment)
  }
  const last = segments[segments.length - 1]
  const slash = kept.length > 0 && (last === '' || last === '.' || last === '..') ? '/' : ''
  return `/${kept.join('/')}${slash}`
}
