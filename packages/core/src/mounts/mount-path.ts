import { CoreError } from '../contracts.ts'

export type Table = 'secret' | 'auth'

const protectedPrefixes = ['audit/', 'auth/', 'sys/', 'cubbyhole/', 'identity/']
const builtinTypes = new Set(['system', 'cubbyhole', 'token', 'identity', 'ns_system', 'ns_cubbyhole', 'ns_token'])
const maxPathLength = 512

/** `a/b` -> `a/b/`. @throws CoreError for empty, overlong or unprintable paths and empty segments. */
export function mountPath(path: string): string {
  const trimmed = path.replace(/^\/+/, '').replace(/\/+$/, '')
  if (trimmed === '') throw invalid('missing path')
  if (trimmed.length > maxPathLength) throw invalid(`path is longer than ${maxPathLength} characters`)
  if (trimmed.split('/').some((segment) => segment === '' || segment === '.' || segment === '..')) {
    throw invalid(`path ${JSON.stringify(path)} has an empty or relative segment`)
  }
  for (const character of trimmed) {
    const code = character.codePointAt(0)!
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) throw invalid('path contains unprintable characters')
  }
  if (/^\s|\s$/.test(trimmed)) throw invalid('path cannot contain trailing whitespace')
  return `${trimmed}/`
}

/** `secret/` or `auth/userpass/`. */
export function pointOf(table: Table, path: string): string {
  return table === 'auth' ? `auth/${path}` : path
}

/** The other way round: which table a full mount point belongs to. */
export function splitPoint(point: string): { table: Table; path: string } {
  return point.startsWith('auth/')
    ? { table: 'auth', path: point.slice('auth/'.length) }
    : { table: 'secret', path: point }
}

export function checkMountable(table: Table, path: string, type: string): void {
  if (table === 'secret') {
    if (isProtected(path)) throw invalid(`cannot mount "${path}"`)
    if (builtinTypes.has(type)) throw invalid(`mount type of "${type}" is not mountable`)
  } else if (type === 'token' || type === 'ns_token') {
    throw invalid('token credential backend cannot be instantiated')
  }
}

export function isProtected(path: string): boolean {
  return protectedPrefixes.some((prefix) => path.startsWith(prefix))
}

export function checkUnmountable(table: Table, path: string): void {
  if (table === 'secret' && isProtected(path)) throw invalid(`cannot unmount "${path}"`)
  if (table === 'auth' && path === 'token/') throw invalid('token credential backend cannot be disabled')
}

/** @throws CoreError when `from` may not move or `to` may not receive; both are full mount points. */
export function checkMove(from: string, to: string): void {
  const source = splitPoint(from)
  const target = splitPoint(to)
  if (source.table === 'secret' ? isProtected(from) : source.path === 'token/')
    throw invalid(`cannot remount "${from}"`)
  if (source.table === 'auth' && target.table === 'secret') {
    throw invalid(`cannot remount auth mount to non-auth mount "${to}"`)
  }
  if (source.table === 'secret' && isProtected(to)) throw invalid(`cannot remount to destination ${to}`)
  if (target.path === '' || (target.table === 'auth' && target.path === 'token/')) {
    throw invalid(`cannot remount to destination ${to}`)
  }
}

export function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
