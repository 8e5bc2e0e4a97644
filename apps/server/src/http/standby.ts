/** On a standby: which requests are this node's own, and how all others reach the active node. */
import { randomUUID } from 'node:crypto'
import { type ForwardedAnswer, type ForwardedRequest, HTTP_LIMITS } from '@lockstep/core'
import { errorCode } from './error-reply.ts'
import type { Exchange, RouteContext, Serve } from './exchange.ts'
import { endToEnd } from './forwarded-exchange.ts'
import { HttpError } from './http-error.ts'
import { readBody } from './json-body.ts'
import { stringifyJson } from './json-number.ts'
import { STATUS_PATHS } from './status-paths.ts'

/** About this node, whoever leads. */
const OWN: ReadonlySet<string> = new Set([
  'sys/health',
  'sys/init',
  'sys/leader',
  'sys/metrics',
  'sys/seal',
  'sys/seal-backend-status',
  'sys/seal-status',
  'sys/step-down',
  'sys/unseal',
])
const NO_BODY = new Uint8Array()
/** Bodies of any size, which are streamed. */
const STREAMED = /^sys\/storage\/(?:raft\/)?snapshot/

/** What is served for a request on a standby; undefined for what the node answers as ever. */
export function onStandby(context: RouteContext, exchange: Exchange): Serve | undefined {
  const { path } = exchange
  if (!path.startsWith('/v1/')) return undefined
  const name = path.slice('/v1/'.length)
  if (name === 'sys/seal') return refuseToSeal
  if (name === 'sys/step-down') return (exchange) => steppedDown(context, exchange)
  if (OWN.has(name)) return undefined
  if (STATUS_PATHS.has(name) && exchange.request.method === 'GET') {
    // This listener's own rule decides, not the active node's.
    return context.disableReplicationStatus ? undefined : (exchange) => status(context, exchange, name)
  }
  if (STREAMED.test(name)) return (exchange) => redirect(context, exchange)
  return (exchange) => forward(context, exchange)
}

/** As Vault: without the active node's services no token can be looked at. */
function refuseToSeal({ request }: Exchange): void {
  if (request.method !== 'PUT' && request.method !== 'POST') throw new HttpError(405, '')
  throw new HttpError(500, 'vault cannot seal when in standby mode; please restart instead')
}

/** There is nothing to give up. */
function steppedDown({ reply }: RouteContext, { request, response, echo }: Exchange): void {
  if (request.method !== 'PUT' && request.method !== 'POST') throw new HttpError(405, '')
  reply.json(response, 204, '', echo)
}

/** As the active node tells it, or with what is stored where that is out of reach: a standby answers in any case. */
async function status(context: RouteContext, exchange: Exchange, name: string): Promise<void> {
  const { core, reply } = context
  const outcome = await core.forward!(forwardable(exchange, NO_BODY), { holdMs: 0 }).catch(() => undefined)
  if (outcome !== undefined && !('redirect' in outcome)) return write(context, exchange, outcome)
  const data = (await core.storedStatus?.(name)) ?? null
  const envelope = { request_id: randomUUID(), lease_id: '', renewable: false, lease_duration: 0, data }
  const body = { ...envelope, wrap_info: null, warnings: null, auth: null }
  reply.json(exchange.response, 200, `${stringifyJson(body)}\n`, exchange.echo)
}

async function forward(context: RouteContext, exchange: Exchange): Promise<void> {
  const { request } = exchange
  const { headers } = request
  if ((headers['x-vault-no-request-forwarding'] ?? '') !== '') return redirect(context, exchange)
  if (Number(headers['content-length'] ?? 0) > HTTP_LIMITS.bodyBytes) return redirect(context, exchange)
  const body = await readBody(request, context.maxRequestSize)
  const outcome = await context.core.forward!(forwardable(exchange, body))
  if ('redirect' in outcome) return redirect(context, exchange, outcome.redirect)
  write(context, exchange, outcome)
}

function forwardable({ request, remoteAddress, remotePort, deadline }: Exchange, body: Uint8Array): ForwardedRequest {
  return {
    ...{ method: request.method!, url: request.url!, headers: endToEnd(request.rawHeaders), body },
    ...{ remoteAddress, remotePort, deadline },
  }
}

function write({ reply }: RouteContext, { response }: Exchange, answer: ForwardedAnswer): void {
  const { status, body } = answer
  const headers = endToEnd(answer.headers)
  const extra: Record<string, string> = {}
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if (headers[index]!.toLowerCase() !== 'date') extra[headers[index]!] = headers[index + 1]!
  }
  reply.raw(response, status, body, extra)
}

/** To the active node, whose address is asked for when it is not given. 503 when nobody is known to lead. */
async function redirect(context: RouteContext, exchange: Exchange, address?: string): Promise<void> {
  const active = address ?? (await activeAddress(context))
  if (active === '') throw new HttpError(503, 'no active Vault instance found')
  const location = `${active.replace(/\/+$/, '')}${exchange.request.url}`
  context.reply.json(exchange.response, 307, '', { ...exchange.echo, Location: location })
}

async function activeAddress({ core }: RouteContext): Promise<string> {
  const { is_self: self, leader_address: address } = await core.leader()
  return self === true || typeof address !== 'string' ? '' : address
}

/**
 * For a request that came as the node stopped leading: nothing was done. False when there is nobody to send the client to, or when the
 * request was forwarded to this node, which is told the standby.
 */
export async function redirected(context: RouteContext, exchange: Exchange, error: unknown): Promise<boolean> {
  if (errorCode(error) !== 'CORE_STANDBY' || exchange.forwarded) return false
  const address = await activeAddress(context)
  if (address === '') return false
  await redirect(context, exchange, address)
  return true
}
