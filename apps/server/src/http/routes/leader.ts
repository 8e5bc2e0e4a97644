import type { FastifyInstance } from 'fastify'
import { bare, byMethod, route } from '../bare-routes.ts'
import type { RouteContext } from '../exchange.ts'

export function leaderRoutes(app: FastifyInstance, context: RouteContext): void {
  route(app, '/v1/sys/leader', byMethod({ GET: bare(context, () => context.core.leader()) }))
}
