/** One request on its way through the server, and what the routes of one listener share. */
import { IncomingMessage, type ServerResponse } from 'node:http'
import type { Log } from '@lockstep/core'
import type { Replier } from './reply.ts'
import type { ServerCore } from './server-core.ts'

export interface Exchange {
  request: IncomingMessage
  response: ServerResponse
  /** Decoded, with its leading slash. */
  path: string
  /** Without the question mark. */
  query: string
  remoteAddress: string
  remotePort: number
  /** Milliseconds since the epoch. */
  deadline: number
  /** The value to echo, undefined when the client sent no namespace header. */
  echo: Readonly<Record<string, string>> | undefined
  /** For what takes as long as it takes: the request has no deadline any more, neither to arrive nor to be answered. */
  unhurried(): void
  /** A standby forwarded it. */
  forwarded: boolean
}

/** Answers one exchange. A rejection becomes the error reply. */
export type Serve = (exchange: Exchange) => Promise<void> | void

export interface RouteContext {
  core: ServerCore
  log: Log
  reply: Replier
  /** Bytes. */
  maxRequestSize: number
  /** `sys/replication/**` status paths answer 404 `disabled path`. */
  disableReplicationStatus: boolean
  /** `sys/metrics` needs no token here. */
  unauthenticatedMetrics: boolean
}

/** Node's message with the exchange made of it before routing. */
export class ExchangeMessage extends IncomingMessage {
  exchange?: Exchange
}
