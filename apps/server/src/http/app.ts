/** One listener's application: the gate every request passes, the routes, and the socket server they hang on. */
import { createServer, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type ServerOptions as TlsServerOptions } from 'node:https'
import type { Socket } from 'node:net'
import type { ForwardedAnswer, ForwardedRequest, Log } from '@lockstep/core'
import { type FastifyInstance, fastify } from 'fastify'
import { errorCode, errorReply } from './error-reply.ts'
import { type Exchange, ExchangeMessage, type RouteContext, type Serve } from './exchange.ts'
import { capturedResponse, forwardedMessage } from './forwarded-exchange.ts'
import { type ForwardedForOptions, remoteAddress } from './forwarded-for.ts'
import { HttpError } from './http-error.ts'
import { type InFlight, inFlight } from './in-flight.ts'
import { DEFAULT_MAX_REQUEST_SIZE } from './json-body.ts'
import { acceptList, LIST_METHOD } from './list-verb.ts'
import { replier, type StatusHeaders } from './reply.ts'
import { parseTarget } from './request-path.ts'
import { generateRootRoutes } from './routes/generate-root.ts'
import { healthRoutes } from './routes/health.ts'
import { initRoutes } from './routes/init.ts'
import { leaderRoutes } from './routes/leader.ts'
import { logicalRoutes } from './routes/logical.ts'
import { metricsRoutes } from './routes/metrics.ts'
import { rekeyRoutes } from './routes/rekey.ts'
import { sealRoutes } from './routes/seal.ts'
import { snapshotRoutes } from './routes/snapshot.ts'
import type { ServerCore } from './server-core.ts'
import { onStandby } from './standby.ts'
import { type TrackedSockets, trackSockets } from './tracked-sockets.ts'

export interface HttpOptions {
  /** Absent: plain HTTP. */
  tls?: TlsServerOptions
  /** Bytes. Default 32 MiB. */
  maxRequestSize?: number
  /** Milliseconds. Default 90,000. */
  maxRequestDuration?: number
  /** Refuse requests without `X-Vault-Request: true`. Default false. */
  requireRequestHeader?: boolean
  /** Default false. */
  disableReplicationStatus?: boolean
  /** `sys/metrics` without a token. Default false. */
  unauthenticatedMetrics?: boolean
  forwardedFor?: ForwardedForOptions
  customHeaders?: StatusHeaders
}

export interface HttpApp {
  server: Server
  inFlight: InFlight
  /** Serves what a standby forwarded. Rejects with CORE_STANDBY when nothing was done because this node does not lead. */
  dispatch(request: ForwardedRequest): Promise<ForwardedAnswer>
  /** Stops accepting, lets requests in flight finish for up to `limitMs`, then cuts what is left. */
  close(limitMs: number): Promise<void>
}

/** Vault's listener defaults: 10 s for the head, 30 s for the whole request, 5 minutes idle. */
const TIMEOUTS = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 300_000 }
const MAX_HEADER_BYTES = 64 * 1024

export async function httpApp(core: ServerCore, log: Log, options: HttpOptions = {}): Promise<HttpApp> {
  const reply = replier(options.customHeaders)
  const context: RouteContext = {
    core,
    log,
    reply,
    maxRequestSize: options.maxRequestSize ?? DEFAULT_MAX_REQUEST_SIZE,
    disableReplicationStatus: options.disableReplicationStatus ?? false,
    unauthenticatedMetrics: options.unauthenticatedMetrics ?? false,
  }
  const pending = inFlight((response) => fail(response, new HttpError(503, 'request timed out', { close: true })))
  const address = remoteAddress(options.forwardedFor ?? NO_PROXY)
  const duration = options.maxRequestDuration ?? 90_000
  /** Whose request may take long to arrive. */
  const unhurried = new WeakSet<Socket>()

  const refusals = new WeakMap<ServerResponse, (error: unknown) => void>()
  const fail = (response: ServerResponse, error: unknown): void => {
    const refuse = refusals.get(response)
    if (refuse !== undefined && errorCode(error) === 'CORE_STANDBY') {
      refuse(error)
      return
    }
    const { status, text, close, index } = errorReply(error, log)
    const echo = (response.req as ExchangeMessage).exchange?.echo
    reply.json(response, status, text, close ? { ...echo, Connection: 'close' } : echo, index)
  }

  /** False when the request has been answered here. */
  const admit = (request: ExchangeMessage, response: ServerResponse): boolean => {
    try {
      request.exchange = exchangeOf(request, response, {
        ...{ remoteAddress: address(request), remotePort: request.socket.remotePort ?? 0 },
        ...{ deadline: Date.now() + duration, forwarded: false },
        unhurried: () => {
          unhurried.add(request.socket)
          response.on('close', () => unhurried.delete(request.socket))
          pending.unhurried(response)
        },
      })
      if (options.requireRequestHeader && request.headers['x-vault-request'] !== 'true') {
        throw new HttpError(412, "missing 'X-Vault-Request' header")
      }
      return route(request, response)
    } catch (error) {
      fail(response, error)
      return false
    }
  }

  const route = (request: ExchangeMessage, response: ServerResponse): boolean => {
    try {
      const exchange = request.exchange!
      const target = parseTarget(request.url ?? '')
      if ('redirect' in target) {
        reply.json(response, 307, '', { Location: target.redirect })
        return false
      }
      exchange.path = target.path
      exchange.query = target.query
      return true
    } catch (error) {
      fail(response, error)
      return false
    }
  }

  const serve = (route: Serve, exchange: Exchange): void => {
    try {
      const working = route(exchange)
      if (working !== undefined) working.catch((error) => fail(exchange.response, error))
    } catch (error) {
      fail(exchange.response, error)
    }
  }

  let server!: Server
  let routed!: (request: ExchangeMessage, response: ServerResponse<ExchangeMessage>) => void
  let sockets!: TrackedSockets
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    requestIdHeader: false,
    genReqId: () => '',
    // `acceptList` owns parse errors.
    clientErrorHandler: () => {},
    frameworkErrors: (_, request) => {
      fail((request.raw as unknown as { exchange: Exchange }).exchange.response, new HttpError(400, 'malformed path'))
    },
    serverFactory: (handle) => {
      const listener = (request: ExchangeMessage, response: ServerResponse<ExchangeMessage>) => {
        pending.add(response, Date.now() + duration)
        if (!admit(request, response)) return
        const exchange = request.exchange!
        const passedOn = core.standsBy?.() ? onStandby(context, exchange) : undefined
        if (passedOn === undefined) handle(request, response)
        else serve(passedOn, exchange)
      }
      routed = handle
      const common = {
        ...TIMEOUTS,
        IncomingMessage: ExchangeMessage,
        maxHeaderSize: MAX_HEADER_BYTES,
        connectionsCheckingInterval: 5_000,
      }
      server = options.tls ? createTlsServer({ ...options.tls, ...common }, listener) : createServer(common, listener)
      acceptList(server, (socket) => unhurried.has(socket))
      sockets = trackSockets(server, options.tls !== undefined)
      return server
    },
  })
  app.addHttpMethod(LIST_METHOD, { hasBody: false })
  answerAll(app, serve)
  initRoutes(app, context)
  sealRoutes(app, context)
  healthRoutes(app, context)
  leaderRoutes(app, context)
  generateRootRoutes(app, context)
  rekeyRoutes(app, context)
  metricsRoutes(app, context)
  snapshotRoutes(app, context)
  logicalRoutes(app, context)
  await app.ready()

  return {
    server,
    inFlight: pending,
    dispatch: (forwarded) =>
      new Promise((resolve, reject) => {
        const { remoteAddress, remotePort, deadline } = forwarded
        const message = forwardedMessage(forwarded)
        const response = capturedResponse(message, resolve)
        refusals.set(response, (error) => {
          response.emit('close')
          reject(error)
        })
        message.exchange = exchangeOf(message, response, {
          ...{ remoteAddress, remotePort, deadline, forwarded: true },
          unhurried: () => pending.unhurried(response),
        })
        pending.add(response, Math.min(deadline, Date.now() + duration))
        if (route(message, response)) routed(message, response)
      }),
    async close(limitMs) {
      pending.startClosing()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      sockets.endUnless((socket) => pending.uses(socket))
      await pending.drained(limitMs)
      sockets.destroyAll()
      await closed
      pending.stop()
      await app.close()
    },
  }
}

const NO_PROXY: ForwardedForOptions = {
  authorizedAddrs: [],
  hopSkips: 0,
  rejectNotPresent: true,
  rejectNotAuthorized: true,
}

function exchangeOf(
  request: ExchangeMessage,
  response: ServerResponse,
  about: Pick<Exchange, 'remoteAddress' | 'remotePort' | 'deadline' | 'forwarded' | 'unhurried'>,
): Exchange {
  const namespace = request.headers['x-vault-namespace']
  return {
    request,
    response,
    path: '',
    query: '',
    ...about,
    echo: typeof namespace === 'string' && namespace !== '' ? { 'X-Vault-Namespace': namespace } : undefined,
  }
}

/** The first hook answers, so that Fastify neither reads the body nor touches the reply. */
function answerAll(app: FastifyInstance, serve: (route: Serve, exchange: Exchange) => void): void {
  app.addHook('onRequest', (request, reply, _done) => {
    reply.hijack()
    serve(request.routeOptions.config?.serve ?? elsewhere, (request.raw as ExchangeMessage).exchange!)
  })
}

/** Outside /v1/, and verbs without a route. */
function elsewhere({ path, response }: Exchange): void {
  if (path === '/') {
    response.writeHead(307, { Location: '/ui/', 'Cache-Control': 'no-store' }).end()
    return
  }
  throw new HttpError(path.startsWith('/v1/') ? 405 : 404, '')
}
