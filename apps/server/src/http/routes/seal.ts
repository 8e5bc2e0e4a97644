import type { FastifyInstance } from 'fastify'
import { bare, bodyOf, byMethod, rootNamespaceOnly, route } from '../bare-routes.ts'
import type { RouteContext } from '../exchange.ts'

/** `sys/seal` itself needs a token and goes to the core. */
export function sealRoutes(app: FastifyInstance, context: RouteContext): void {
  const { core } = context
  route(app, '/v1/sys/seal-status', byMethod({ GET: bare(context, () => core.sealStatus()) }))
  route(app, '/v1/sys/seal-backend-status', byMethod({ GET: bare(context, () => core.sealBackendStatus()) }))
  const unseal = byMethod({ POST: bare(context, async (exchange) => core.unseal(await bodyOf(context, exchange))) })
  route(app, '/v1/sys/unseal', rootNamespaceOnly(unseal))
}
