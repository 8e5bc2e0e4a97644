/** Vault's request headers. */
import type { IncomingHttpHeaders } from 'node:http'
import { parseDuration } from '@lockstep/backend'
import { HttpError } from './http-error.ts'

/** `X-Vault-Token`, else the bearer token; "" when there is none. */
export function clientToken(headers: IncomingHttpHeaders): string {
  const token = headers['x-vault-token']
  if (typeof token === 'string' && token !== '') return token
  const authorization = headers.authorization
  return authorization?.startsWith('Bearer ') ? authorization.slice(7).trim() : ''
}

/** Seconds; 0 = no wrapping. */
export function wrapTtl(headers: IncomingHttpHeaders): number {
  const text = headers['x-vault-wrap-ttl']
  if (text === undefined || text === '') return 0
  let seconds: number
  try {
    seconds = parseDuration(String(text))
  } catch (error) {
    throw new HttpError(400, `error parsing X-Vault-Wrap-TTL header: ${(error as Error).message}`)
  }
  if (seconds < 0) {
    throw new HttpError(400, 'error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative')
  }
  return seconds
}

export function wrapFormat(headers: IncomingHttpHeaders): '' | 'jwt' {
  return headers['x-vault-wrap-format'] === 'jwt' ? 'jwt' : ''
}

/** The namespace header without slashes; "" for none and for the root namespace. */
export function namespaceOf(headers: IncomingHttpHeaders): string {
  const text = headers['x-vault-namespace']
  if (typeof text !== 'string' || text === '') return ''
  const name = text.replace(/^\/+|\/+$/g, '')
  return name === 'root' ? '' : name
}
