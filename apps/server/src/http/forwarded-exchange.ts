/**
 * Requests that a standby forwarded, on their way through this server without a socket: node's own message and response, so that every
 * route serves them as it serves a client's.
 */
import { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ForwardedAnswer, ForwardedRequest } from '@lockstep/core'
import { ExchangeMessage } from './exchange.ts'

/** About the connection they came over: no concern of the next one. */
const HOP_BY_HOP = new Set([
  'connection',
  'content-length',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Names and values in turn, without those about the connection. */
export function endToEnd(headers: readonly string[]): string[] {
  const kept: string[] = []
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if (!HOP_BY_HOP.has(headers[index]!.toLowerCase())) kept.push(headers[index]!, headers[index + 1]!)
  }
  return kept
}

export function forwardedMessage({ method, url, headers, body }: ForwardedRequest): ExchangeMessage {
  const message = new ExchangeMessage(NOWHERE)
  message.httpVersion = '1.1'
  message.method = method
  message.url = url
  message.rawHeaders = endToEnd(headers)
  if (body.length > 0) {
    message.rawHeaders.push('Content-Length', String(body.length))
    message.push(body)
  }
  message.headers = headersOf(message.rawHeaders)
  message.push(null)
  message.complete = true
  return message
}

/** Joined where a name occurs several times, but for those of which node takes the first. */
function headersOf(raw: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]!.toLowerCase()
    const known = Object.hasOwn(headers, name) ? headers[name] : undefined
    const value = known === undefined ? raw[index + 1]! : SINGLE.has(name) ? known : `${known}, ${raw[index + 1]}`
    Object.defineProperty(headers, name, { value, writable: true, enumerable: true, configurable: true })
  }
  return headers
}

const SINGLE = new Set([
  ...['age', 'authorization', 'content-length', 'content-type', 'etag', 'expires', 'from', 'host', 'if-modified-since'],
  ...[
    'if-unmodified-since',
    'last-modified',
    'location',
    'max-forwards',
    'referer',
    'retry-after',
    'server',
    'user-agent',
  ],
])

/** Never read from or written to. */
const NOWHERE = { readable: false, writable: false, destroyed: false } as Socket

/** `answered` is called once, with all that was written. */
export function capturedResponse(
  message: ExchangeMessage,
  answered: (answer: ForwardedAnswer) => void,
): ServerResponse<ExchangeMessage> {
  const response = new ServerResponse<ExchangeMessage>(message)
  let head: { status: number; headers: string[] } | undefined
  const chunks: Buffer[] = []
  let ended = false

  const writeHead = (status: number, headers: string[] | Record<string, unknown> = []): typeof response => {
    const flat = Array.isArray(headers) ? headers : Object.entries(headers).flat()
    head = { status, headers: endToEnd(flat.map(String)) }
    response.statusCode = status
    return response
  }
  const write = (chunk: Uint8Array | string): boolean => {
    chunks.push(Buffer.from(chunk as string))
    return true
  }
  const end = (chunk?: Uint8Array | string): typeof response => {
    if (ended) return response
    ended = true
    if (chunk !== undefined) write(chunk)
    const { status, headers } = head ?? { status: response.statusCode, headers: [] }
    answered({ status, headers, body: Buffer.concat(chunks) })
    response.emit('finish')
    response.emit('close')
    return response
  }
  Object.defineProperty(response, 'headersSent', { get: () => head !== undefined })
  return Object.assign(response, { writeHead, write, end })
}
