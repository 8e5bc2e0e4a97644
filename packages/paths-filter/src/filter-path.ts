/** The form of a path in a filter: a mount or a namespace, no leading slash, one trailing slash. */
import { PathsFilterError } from './errors.ts'

const MAX_PATH_LENGTH = 1024

/** Mounts every cluster needs; they can be neither withheld nor named in a filter. */
export const CORE_MOUNTS: readonly string[] = ['sys/', 'identity/', 'cubbyhole/', 'auth/token/']

export function isCorePath(path: string): boolean {
  return path === '' || CORE_MOUNTS.some((mount) => path.startsWith(mount))
}

export function normalizePath(value: unknown, field: string): string {
  const refuse = (problem: string): never => {
    throw new PathsFilterError('PATHS_FILTER_INVALID_PATHS', field, problem)
  }
  if (typeof value !== 'string') return refuse('must be a string')
  let path = value.trim()
  if (path.startsWith('/')) path = path.slice(1)
  if (!path.endsWith('/')) path += '/'
  if (path === '/') refuse('must name a mount or a namespace')
  if (path.length > MAX_PATH_LENGTH) refuse(`must be at most ${MAX_PATH_LENGTH} characters long`)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(path)) refuse('must not have control characters')
  if (/[*+]/.test(path)) refuse('must name one path; wildcards are not supported')
  if (path.slice(0, -1).split('/').some(isBadSegment)) refuse('must not have empty, "." or ".." segments')
  if (path === 'auth/') refuse('must name an auth mount, for instance auth/userpass/')
  if (isCorePath(path)) refuse(`cannot be filtered: every cluster needs ${path}`)
  return path
}

function isBadSegment(segment: string): boolean {
  return segment === '' || segment === '.' || segment === '..'
}
