import type { FastifyInstance } from 'fastify'
import { bare, bodyOf, byMethod, rootNamespaceOnly, route } from '../bare-routes.ts'
import type { Exchange, RouteContext } from '../exchange.ts'
import { clientToken } from '../request-headers.ts'
import type { GenerateRootAction, GenerateRootKind } from '../server-core.ts'

const BASES: readonly [GenerateRootKind, string][] = [
  ['root', '/v1/sys/generate-root'],
  ['dr-operation', '/v1/sys/replication/dr/secondary/generate-operation-token'],
]

export function generateRootRoutes(app: FastifyInstance, context: RouteContext): void {
  for (const [kind, base] of BASES) {
    const run = (action: GenerateRootAction, withBody: boolean) =>
      bare(context, async (exchange: Exchange) =>
        context.core.generateRoot(kind, action, withBody ? await bodyOf(context, exchange) : {}, {
          token: clientToken(exchange.request.headers),
          path: exchange.path.slice('/v1/'.length),
          remoteAddress: exchange.remoteAddress,
        }),
      )
    const attempt = byMethod({ GET: run('status', false), POST: run('start', true), DELETE: run('cancel', false) })
    route(app, `${base}/attempt`, rootNamespaceOnly(attempt))
    route(app, `${base}/update`, rootNamespaceOnly(byMethod({ POST: run('update', true) })))
  }
}
