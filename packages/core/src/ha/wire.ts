/**
 * What goes between the nodes of a cluster, in the request and response messages of a link. A standby asks:
 *
 * | method    | body                                                                       | answer                    |
 * |-----------|----------------------------------------------------------------------------|---------------------------|
 * | `forward` | method, url, headers (flat), body, remoteAddress, remotePort, withinMs     | status, headers, body     |
 * | `echo`    | apiAddress, clusterAddress, hostname, version                              | performance, dr (modes)   |
 *
 * The active node sends one `closing` without expecting an answer: requests with a higher id than `taken` were not looked at.
 * An answer's error is `not-active` (nothing was done), or `failed`.
 */
import type { Plain } from '@lockstep/replication'
import { type ForwardedAnswer, type ForwardedRequest, HTTP_LIMITS } from './http.ts'

export const FORWARD = 'forward'
export const ECHO = 'echo'
export const CLOSING = 'closing'
export const NOT_ACTIVE = 'not-active'
export const FAILED = 'failed'

type Fields = Record<string, unknown>

export interface NodeAbout {
  apiAddress: string
  clusterAddress: string
  hostname: string
  version: string
}

/** `now` of the sender's clock: nodes agree on how long is left, not on the time. */
export function encodeRequest(request: ForwardedRequest, now: number): Plain {
  const { method, url, body, remoteAddress, remotePort } = request
  const withinMs = Math.min(Math.max(1, Math.round(request.deadline - now)), HTTP_LIMITS.withinMs)
  return { method, url, headers: [...request.headers], body, remoteAddress, remotePort, withinMs }
}

/** Throws for anything else. */
export function parseRequest(body: Plain, now: number): ForwardedRequest {
  const fields = object(body)
  const { method, url, remotePort, withinMs } = fields
  if (typeof method !== 'string' || !/^[A-Z]{1,16}$/.test(method)) throw invalid('method')
  if (typeof url !== 'string' || !/^\/[\x21-\xff]*$/.test(url) || url.length > HTTP_LIMITS.headBytes)
    throw invalid('url')
  if (!isInteger(remotePort, 65_535)) throw invalid('remotePort')
  if (!isInteger(withinMs, HTTP_LIMITS.withinMs)) throw invalid('withinMs')
  return {
    ...{ method, url, remotePort, headers: headers(fields.headers), body: bytes(fields.body) },
    remoteAddress: text(fields.remoteAddress, 'remoteAddress'),
    deadline: now + withinMs,
  }
}

export function encodeAnswer({ status, headers, body }: ForwardedAnswer): Plain {
  return { status, headers: [...headers], body }
}

export function parseAnswer(body: Plain): ForwardedAnswer {
  const fields = object(body)
  const { status } = fields
  if (!isInteger(status, 599) || status < 200) throw invalid('status')
  return { status, headers: headers(fields.headers), body: bytes(fields.body) }
}

export function encodeAbout(about: NodeAbout): Plain {
  return { ...about }
}

export function parseAbout(body: Plain): NodeAbout {
  const fields = object(body)
  return {
    apiAddress: text(fields.apiAddress, 'apiAddress'),
    clusterAddress: text(fields.clusterAddress, 'clusterAddress'),
    hostname: text(fields.hostname, 'hostname'),
    version: text(fields.version, 'version'),
  }
}

export function parseTaken(body: Plain): number {
  const { taken } = object(body)
  if (!isInteger(taken, Number.MAX_SAFE_INTEGER)) throw invalid('taken')
  return taken
}

function object(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    throw invalid('body')
  }
  return value as Fields
}

function headers(value: unknown): string[] {
  if (!Array.isArray(value) || value.length % 2 !== 0 || value.length > HTTP_LIMITS.headers * 2)
    throw invalid('headers')
  let length = 0
  for (const [index, item] of value.entries()) {
    // Not what would end a header and begin another.
    const shape = index % 2 === 0 ? /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/ : /^[\t\x20-\x7e\x80-\xff]*$/
    if (typeof item !== 'string' || !shape.test(item)) throw invalid('headers')
    length += item.length
  }
  if (length > HTTP_LIMITS.headBytes) throw invalid('headers')
  return value as string[]
}

function bytes(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length > HTTP_LIMITS.bodyBytes) throw invalid('body')
  return value
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string' || value.length > 500) throw invalid(what)
  return value
}

function isInteger(value: unknown, most: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most
}

function invalid(what: string): Error {
  return new Error(`malformed message between nodes: ${what}`)
}
