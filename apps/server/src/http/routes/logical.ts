/** Everything under /v1/ that the core decides: the request is translated, handed over, and its answer written out. */
import { randomUUID } from 'node:crypto'
import type { CoreRequest, CoreResponse } from '@lockstep/core'
import type { FastifyInstance } from 'fastify'
import { route } from '../bare-routes.ts'
import type { Exchange, RouteContext, Serve } from '../exchange.ts'
import { HttpError } from '../http-error.ts'
import { parseBody, queryValues, readBody } from '../json-body.ts'
import { stringifyJson } from '../json-number.ts'
import { LIST_METHOD } from '../list-verb.ts'
import { parseBool } from '../parse-bool.ts'
import { clientToken, namespaceOf, wrapFormat, wrapTtl } from '../request-headers.ts'
import { redirected } from '../standby.ts'
import { STATUS_PATHS } from '../status-paths.ts'
import { sendStream } from './snapshot.ts'

const PREFIX = '/v1/'

export function logicalRoutes(app: FastifyInstance, context: RouteContext): void {
  const serve: Serve = async (exchange) => {
    const path = exchange.path.slice(PREFIX.length)
    if (context.disableReplicationStatus && STATUS_PATHS.has(path)) throw new HttpError(404, 'disabled path')
    if (namespaceOf(exchange.request.headers) !== '') throw new HttpError(404, 'namespace not found')
    const request = await coreRequest(context, exchange, path)
    let response: CoreResponse
    try {
      response = await context.core.handle(request)
    } catch (error) {
      if (await redirected(context, exchange, error)) return
      throw error
    }
    const { stream } = response
    if (stream === undefined) return write(context, exchange, response)
    // Of a path in another spelling, with %2F for a slash, than the one that is routed.
    exchange.unhurried()
    await sendStream(context, exchange, { ...response, stream })
  }
  route(app, '/v1/*', serve)
}

async function coreRequest(context: RouteContext, exchange: Exchange, path: string): Promise<CoreRequest> {
  const { request } = exchange
  const { headers } = request
  const ttl = wrapTtl(headers)
  const translated: CoreRequest = {
    id: randomUUID(),
    operation: 'read',
    path,
    data: {},
    clientToken: clientToken(headers),
    headers: headers as Record<string, string>,
    remoteAddress: exchange.remoteAddress,
    remotePort: exchange.remotePort,
    wrapTtl: ttl,
    wrapFormat: ttl === 0 ? '' : wrapFormat(headers),
    deadline: exchange.deadline,
  }
  switch (request.method) {
    case 'GET':
      readOrList(translated, exchange.query)
      break
    case LIST_METHOD:
      translated.data = queryValues(exchange.query)
      toList(translated)
      break
    case 'DELETE':
      translated.operation = 'delete'
      translated.data = queryValues(exchange.query)
      break
    case 'POST':
    case 'PUT':
      translated.operation = 'update'
      translated.data = await writtenData(context, request, path)
      break
    case 'PATCH':
      requireMergePatch(headers['content-type'])
      translated.operation = 'patch'
      translated.data = await writtenData(context, request, path)
      break
    case 'OPTIONS':
      // Only CORS would answer it.
      throw new HttpError(400, 'cannot handle internal-only request operation')
    default:
      throw new HttpError(405, '')
  }
  return translated
}

function readOrList(request: CoreRequest, query: string): void {
  if (query === '') return
  const parameters = new URLSearchParams(query)
  const help = parameters.get('help')
  if (help !== null && help !== '') {
    request.operation = 'help'
    return
  }
  request.data = queryValues(query)
  const text = parameters.get('list')
  if (text === null || text === '') return
  const list = parseBool(text)
  if (list === undefined) throw new HttpError(400, '')
  delete request.data.list
  if (list) toList(request)
}

function toList(request: CoreRequest): void {
  request.operation = 'list'
  if (!request.path.endsWith('/')) request.path += '/'
}

async function writtenData(
  context: RouteContext,
  request: Exchange['request'],
  path: string,
): Promise<Record<string, unknown>> {
  if (path.endsWith('/')) throw new HttpError(400, "cannot write to a path ending in '/'")
  return parseBody(await readBody(request, context.maxRequestSize), request.headers['content-type'])
}

function requireMergePatch(contentType: string | undefined): void {
  const type = contentType?.replace(/;.*/s, '').trim().toLowerCase()
  if (type === 'application/merge-patch+json') return
  throw new HttpError(
    415,
    `PATCH requires Content-Type of application/merge-patch+json, provided ${type ? JSON.stringify(type) : 'none'}`,
  )
}

function write({ reply }: RouteContext, { response, echo }: Exchange, answer: CoreResponse): void {
  const extra = answer.headers === undefined ? echo : { ...echo, ...answer.headers }
  const { status, index } = answer
  if (answer.envelope !== undefined) {
    const { envelope } = answer
    const body = answer.injectData && envelope.data !== null ? { ...envelope.data, ...envelope } : envelope
    reply.json(response, status, `${stringifyJson(body)}\n`, extra, index)
  } else if (answer.bare !== undefined) {
    reply.json(response, status, `${stringifyJson(answer.bare)}\n`, extra, index)
  } else if (answer.raw !== undefined) {
    reply.raw(response, status, answer.raw.body, { 'Content-Type': answer.raw.contentType, ...extra }, index)
  } else {
    reply.json(response, status, '', extra, index)
  }
}
