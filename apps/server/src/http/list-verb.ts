/**
 * Vault's LIST verb. Node's HTTP parser knows a fixed set of verbs, and LIST is not in it, though hvac and curl users send it.
 * The parser stops precisely at the unknown verb and hands over the packet; here the verb is replaced by LINK, of the same length
 * and used by nobody, and the parser is restarted on it. So request framing stays entirely the parser's own work.
 *
 * This leans on three internals of node:http (`socket.parser`, `initialize`, `execute`), alike in Node 20, 22 and 24. If they
 * are gone, LIST gets a 405 that says what to send instead.
 */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { errorsText } from './error-reply.ts'

/** What a LIST request's `method` reads after the replacement. */
export const LIST_METHOD = 'LINK'

const VERB = Buffer.from('LIST ')

interface ParserError extends Error {
  code?: string
  bytesParsed?: number
  rawPacket?: Buffer
}

interface HttpParser {
  initialize(type: number, resource: object, maxHeaderSize: number, lenient: number, connections: unknown): void
  execute(bytes: Buffer): number | ParserError
  constructor: { REQUEST?: number }
}

/**
 * Handles every parse error of the server: LIST is continued, all else is answered and closed, but for requests that may take long to
 * arrive.
 */
export function acceptList(server: Server, mayTakeLong: (socket: Socket) => boolean = () => false): void {
  // Bytes of a verb that was cut by a packet boundary.
  const pending = new WeakMap<Socket, Buffer>()

  server.on('clientError', (error: ParserError, stream) => {
    const socket = stream as Socket
    // Node tells of it once for each request, and leaves the rest to us.
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && mayTakeLong(socket)) return
    const rest = error.code === 'HPE_INVALID_METHOD' ? verbOnwards(error, pending.get(socket)) : undefined
    pending.delete(socket)
    if (rest === undefined) {
      refuse(socket, error.code)
    } else if (rest.length < VERB.length) {
      pending.set(socket, rest)
    } else {
      // The parser is still inside its own callback.
      process.nextTick(restart, server, socket, rest)
    }
  })
}

/** The bytes from the verb on when the verb is, or may still become, LIST. */
function verbOnwards(error: ParserError, earlier: Buffer | undefined): Buffer | undefined {
  const packet = error.rawPacket
  const at = error.bytesParsed
  if (packet === undefined || at === undefined) return undefined
  if (earlier !== undefined) return startsLikeVerb(Buffer.concat([earlier, packet]))
  // The parser objects to the third letter (LINK would go on with N); up to two may have come in an earlier packet.
  if (at >= 2) return startsLikeVerb(packet.subarray(at - 2))
  return startsLikeVerb(Buffer.concat([VERB.subarray(0, 2 - at), packet]))
}

function startsLikeVerb(bytes: Buffer): Buffer | undefined {
  const length = Math.min(bytes.length, VERB.length)
  return bytes.compare(VERB, 0, length, 0, length) === 0 ? bytes : undefined
}

function restart(server: Server, socket: Socket, rest: Buffer): void {
  const parser = (socket as Socket & { parser?: HttpParser }).parser
  const type = parser?.constructor.REQUEST
  if (socket.destroyed || parser == null || type === undefined || typeof parser.initialize !== 'function') {
    refuse(socket, 'HPE_INVALID_METHOD')
    return
  }
  const bytes = Buffer.from(rest)
  bytes.write(LIST_METHOD)
  parser.initialize(type, {}, (server as { maxHeaderSize?: number }).maxHeaderSize ?? 0, 0, connectionsOf(server))
  const result = parser.execute(bytes)
  if (typeof result === 'number') return
  result.rawPacket = bytes
  server.emit('clientError', result, socket)
}

/** The server's list for header and request timeouts; without it a restarted request would have none. */
function connectionsOf(server: Server): unknown {
  const symbol = Object.getOwnPropertySymbols(server).find(
    (candidate) => candidate.description === 'http.server.connections',
  )
  return symbol && (server as unknown as Record<symbol, unknown>)[symbol]
}

function refuse(socket: Socket, code: string | undefined): void {
  // A failed TLS handshake, for one, leaves nobody who could read an HTTP reply.
  if (!socket.writable || code === undefined || !/^(?:HPE|ERR_HTTP)_/.test(code)) {
    socket.destroy()
    return
  }
  const [status, message] =
    code === 'HPE_INVALID_METHOD'
      ? ['405 Method Not Allowed', '']
      : code === 'HPE_HEADER_OVERFLOW'
        ? ['431 Request Header Fields Too Large', '']
        : code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? ['408 Request Timeout', '']
          : ['400 Bad Request', 'malformed HTTP request']
  const body = errorsText(message)
  socket.end(
    `HTTP/1.1 ${status}\r\nCache-Control: no-store\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
