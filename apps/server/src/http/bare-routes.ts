/** What the paths without token and envelope have in common. */
import type { FastifyInstance } from 'fastify'
import type { Exchange, RouteContext, Serve } from './exchange.ts'
import { HttpError } from './http-error.ts'
import { parseBody, readBody } from './json-body.ts'
import { stringifyJson } from './json-number.ts'
import { namespaceOf } from './request-headers.ts'

/** Every verb this server routes; LIST arrives as LINK. */
export const ROUTED_METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'LINK'] as const
export type Method = (typeof ROUTED_METHODS)[number]

declare module 'fastify' {
  interface FastifyContextConfig {
    serve?: Serve
  }
}

/** Routes `url` to `serve`, whatever the verb. Fastify's own body parsing and reply handling are not used. */
export function route(app: FastifyInstance, url: string, serve: Serve): void {
  app.route({ method: [...ROUTED_METHODS], url, config: { serve }, handler: unreachable })
}

function unreachable(): never {
  throw new Error('the onRequest hook answers every request')
}

/** One handler per verb; PUT is POST. Any other verb is 405 with an empty error list. */
export function byMethod(handlers: Partial<Record<Exclude<Method, 'PUT'>, Serve>>): Serve {
  return (exchange) => {
    const method = exchange.request.method === 'PUT' ? 'POST' : exchange.request.method
    const handler = Object.hasOwn(handlers, method!) ? handlers[method as keyof typeof handlers] : undefined
    if (handler === undefined) throw new HttpError(405, '')
    return handler(exchange)
  }
}

export function rootNamespaceOnly(serve: Serve): Serve {
  return (exchange) => {
    if (namespaceOf(exchange.request.headers) !== '') throw new HttpError(400, 'operation unavailable in namespaces')
    return serve(exchange)
  }
}

/** Sends what `work` gives: an object as JSON, `undefined` as an empty 204. */
export function bare(
  { reply }: RouteContext,
  work: (exchange: Exchange) => Promise<Record<string, unknown> | undefined>,
): Serve {
  return async (exchange) => {
    const body = await work(exchange)
    const status = body === undefined ? 204 : 200
    reply.json(exchange.response, status, body === undefined ? '' : `${stringifyJson(body)}\n`, exchange.echo)
  }
}

export async function bodyOf(
  { maxRequestSize }: RouteContext,
  { request }: Exchange,
): Promise<Record<string, unknown>> {
  return parseBody(await readBody(request, maxRequestSize), request.headers['content-type'])
}
