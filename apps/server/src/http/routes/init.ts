import type { FastifyInstance } from 'fastify'
import { bare, bodyOf, byMethod, rootNamespaceOnly, route } from '../bare-routes.ts'
import type { RouteContext } from '../exchange.ts'

export function initRoutes(app: FastifyInstance, context: RouteContext): void {
  const { core } = context
  const serve = byMethod({
    GET: bare(context, async () => ({ initialized: await core.initialized() })),
    POST: bare(context, async (exchange) => core.initialize(await bodyOf(context, exchange))),
  })
  route(app, '/v1/sys/init', rootNamespaceOnly(serve))
}
