import type { RekeyAction, RekeyTarget } from '@lockstep/core'
import type { FastifyInstance } from 'fastify'
import { bare, bodyOf, byMethod, rootNamespaceOnly, route } from '../bare-routes.ts'
import type { Exchange, RouteContext } from '../exchange.ts'
import { clientToken } from '../request-headers.ts'

const BASES: readonly [RekeyTarget, string][] = [
  ['barrier', '/v1/sys/rekey'],
  ['recovery', '/v1/sys/rekey-recovery-key'],
]

export function rekeyRoutes(app: FastifyInstance, context: RouteContext): void {
  for (const [target, base] of BASES) {
    const run = (action: RekeyAction, withBody = true) =>
      bare(context, async (exchange: Exchange) =>
        context.core.rekey(target, action, withBody ? await bodyOf(context, exchange) : {}, {
          token: clientToken(exchange.request.headers),
          path: exchange.path.slice('/v1/'.length),
          remoteAddress: exchange.remoteAddress,
        }),
      )
    const init = byMethod({ GET: run('status', false), POST: run('start'), DELETE: run('cancel') })
    const verify = byMethod({ GET: run('verify-status', false), POST: run('verify'), DELETE: run('verify-restart') })
    route(app, `${base}/init`, rootNamespaceOnly(init))
    route(app, `${base}/update`, rootNamespaceOnly(byMethod({ POST: run('update') })))
    route(app, `${base}/verify`, rootNamespaceOnly(verify))
  }
}
