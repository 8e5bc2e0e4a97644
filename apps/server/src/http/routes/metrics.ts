/** `sys/metrics`: JSON as Vault's, or `format=prometheus`. With a token, unless this listener shows it to everyone. */
import { randomUUID } from 'node:crypto'
import type { MetricsSnapshot } from '@lockstep/core'
import type { FastifyInstance } from 'fastify'
import { byMethod, rootNamespaceOnly, route } from '../bare-routes.ts'
import { errorCode } from '../error-reply.ts'
import type { Exchange, RouteContext, Serve } from '../exchange.ts'
import { HttpError } from '../http-error.ts'
import { stringifyJson } from '../json-number.ts'
import { metricsJson, type PrometheusText, prometheusText } from '../metrics-format.ts'
import { clientToken } from '../request-headers.ts'

const PATH = 'sys/metrics'
/** Gathering the process's own metrics takes hooks into the event loop: once for the whole process, and only when asked. */
let prometheus: PrometheusText | undefined

export function metricsRoutes(app: FastifyInstance, context: RouteContext): void {
  const serve: Serve = async (exchange) => {
    const format = new URLSearchParams(exchange.query).get('format') ?? ''
    if (format !== '' && format !== 'prometheus') throw new HttpError(400, `metric response format "${format}" unknown`)
    let snapshot: MetricsSnapshot
    try {
      snapshot = await snapshotFor(context, exchange)
    } catch (error) {
      // Those of the active node are not what was asked for.
      if (errorCode(error) === 'CORE_STANDBY') throw new HttpError(400, 'cannot forward local-only request')
      throw error
    }
    const { response, echo } = exchange
    if (format === '') return context.reply.json(response, 200, `${stringifyJson(metricsJson(snapshot))}\n`, echo)
    prometheus ??= prometheusText()
    const text = await prometheus.text(snapshot)
    context.reply.raw(response, 200, text, { 'Content-Type': prometheus.contentType, ...echo })
  }
  route(app, `/v1/${PATH}`, rootNamespaceOnly(byMethod({ GET: serve })))
}

async function snapshotFor(
  { core, unauthenticatedMetrics }: RouteContext,
  exchange: Exchange,
): Promise<MetricsSnapshot> {
  if (unauthenticatedMetrics) return core.metrics()
  const { request, remoteAddress, remotePort, deadline } = exchange
  const answer = await core.handle({
    id: randomUUID(),
    operation: 'read',
    path: PATH,
    data: {},
    clientToken: clientToken(request.headers),
    headers: request.headers as Record<string, string>,
    remoteAddress,
    remotePort,
    wrapTtl: 0,
    wrapFormat: '',
    deadline,
  })
  return answer.bare as MetricsSnapshot
}
