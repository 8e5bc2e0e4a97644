/** Snapshots: bodies that are streamed in both directions, for which the limits of size and time of other requests do not hold. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CoreError, type CoreRequest, type CoreResponse } from '@lockstep/core'
import type { FastifyInstance } from 'fastify'
import { byMethod, rootNamespaceOnly, route } from '../bare-routes.ts'
import type { Exchange, RouteContext } from '../exchange.ts'
import { HttpError } from '../http-error.ts'
import { clientToken, wrapTtl } from '../request-headers.ts'
import { redirected } from '../standby.ts'

const PATHS = ['sys/storage/snapshot', 'sys/storage/raft/snapshot']
/** A client from which nothing comes, or to which nothing goes, for as long is gone. */
const STALLED_MS = 60_000
/** How long the rest of a refused body is let in, so that the client reads the answer and not a reset. */
const LINGER_MS = 10_000

export function snapshotRoutes(app: FastifyInstance, context: RouteContext): void {
  const save = async (exchange: Exchange): Promise<void> => {
    exchange.unhurried()
    const response = await handled(context, exchange, coreRequest(exchange, 'read'))
    if (response?.stream !== undefined) await sendStream(context, exchange, { ...response, stream: response.stream })
  }
  const restore = async (exchange: Exchange): Promise<void> => {
    exchange.unhurried()
    const request = { ...coreRequest(exchange, 'update'), body: arriving(exchange.request) }
    let response: CoreResponse | undefined
    try {
      response = await handled(context, exchange, request)
    } catch (error) {
      await rest(exchange.request)
      throw error
    }
    if (response !== undefined)
      context.reply.json(exchange.response, response.status, '', exchange.echo, response.index)
  }
  for (const path of PATHS) {
    route(app, `/v1/${path}`, rootNamespaceOnly(byMethod({ GET: save, POST: restore })))
    route(app, `/v1/${path}-force`, rootNamespaceOnly(byMethod({ POST: restore })))
  }
}

/** To its end, or ends it. */
export async function sendStream(
  context: RouteContext,
  exchange: Exchange,
  { status, index, stream }: CoreResponse & Required<Pick<CoreResponse, 'stream'>>,
): Promise<void> {
  const { contentType, body } = stream
  const headers = { 'Content-Type': contentType, ...exchange.echo }
  if (context.reply.head(exchange.response, status, headers, index)) {
    exchange.response.flushHeaders()
    await send(body, exchange.response, context)
  } else body.destroy()
}

/** Undefined when the client was sent to the active node. */
async function handled(
  context: RouteContext,
  exchange: Exchange,
  request: CoreRequest,
): Promise<CoreResponse | undefined> {
  try {
    return await context.core.handle(request)
  } catch (error) {
    if (await redirected(context, exchange, error)) return undefined
    throw error
  }
}

function coreRequest(exchange: Exchange, operation: 'read' | 'update'): CoreRequest {
  const { request, path, remoteAddress } = exchange
  const { headers } = request
  return {
    id: randomUUID(),
    operation,
    path: path.slice('/v1/'.length),
    data: {},
    clientToken: clientToken(headers),
    headers: headers as Record<string, string>,
    remoteAddress,
    remotePort: request.socket.remotePort ?? 0,
    wrapTtl: wrapTtl(headers),
    wrapFormat: '',
  }
}

/** The body as it comes. Whoever stops reading leaves the rest to `rest`. */
async function* arriving(request: IncomingMessage): AsyncGenerator<Uint8Array> {
  const chunks = request.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]()
  for (;;) {
    const next = await beforeStalled(chunks.next()).catch((cause: unknown) => {
      throw new CoreError('CORE_INVALID_REQUEST', 'the snapshot broke off before its end', { cause })
    })
    if (next.done) return
    yield next.value as Uint8Array
  }
}

async function beforeStalled<T>(next: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const stalled = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new HttpError(408, 'nothing comes any more')), STALLED_MS)
  })
  try {
    return await Promise.race([next, stalled])
  } finally {
    clearTimeout(timer)
  }
}

async function rest(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, LINGER_MS)
    for (const event of ['end', 'close', 'error']) {
      request.once(event, () => {
        clearTimeout(timer)
        resolve()
      })
    }
    request.resume()
  })
}

async function send(body: Readable, response: ServerResponse, { log }: RouteContext): Promise<void> {
  response.socket?.setTimeout(STALLED_MS, () => response.destroy())
  try {
    await pipeline(body, response)
  } catch (error) {
    // The head is out: that the archive ends early is all the client can be told, and it checks that.
    log.warn('a snapshot was not sent to its end', { error: (error as Error).message })
    response.destroy()
  } finally {
    response.socket?.setTimeout(0)
  }
}
