/** What a cluster port is told, and tells. */
import type { X509Certificate } from 'node:crypto'
import type { Link } from '@lockstep/replication'
import type { TransportErrorCode } from './errors.ts'
import type { LinkOptions } from './stream-link.ts'

export interface ClusterListenerOptions {
  host: string
  /** 0 = any free port. */
  port: number
  /** Connections at most, those in their handshake included. Default 256. */
  maxConnections?: number
  /** From connecting to being accepted. ms, default 10,000. */
  handshakeTimeoutMs?: number
  /** A connection that came to nothing, for the log. */
  onRefused?(refusal: ConnectionRefusal): void
}

export interface ConnectionRefusal {
  remoteAddress: string
  /** "" when not known. */
  servername: string
  alpn: string
  code: TransportErrorCode
  message: string
}

export interface ClusterProtocol extends LinkOptions {
  alpn: string
  /** The name dialers ask for (SNI), by which the certificate is chosen; one per registered protocol. */
  servername: string
  /** PEM: this listener's certificate for the protocol, its key, and the only authority clients may come from. */
  cert: string
  key: string
  ca: string
  /** Links one peer may have at a time; a new one beyond that is refused. Default 4. */
  maxLinksPerPeer?: number
  /**
   * Who a client certificate, already verified against `ca`, belongs to, or why it is refused. Asked for every connection, so
   * forgetting a certificate here and calling `disconnect` is revocation. A rejection refuses too.
   */
  authorize(certificate: X509Certificate): AuthorizedPeer | Promise<AuthorizedPeer>
  onLink(link: Link): void
}

export type AuthorizedPeer = { id: string } | { refused: string }

export interface ProtocolRegistration {
  /** Closes the links of one peer. Connections being authorized are asked about again. */
  disconnect(peerId: string, reason: string): void
  links(): readonly Link[]
  /** Serves the protocol no longer and closes its links; resolves when they have closed. */
  unregister(reason?: string): Promise<void>
}

export interface ClusterListener {
  readonly address: { host: string; port: number }
  /** Throws `TRANSPORT_INVALID` when the server name is taken or the credentials are not usable. */
  register(protocol: ClusterProtocol): ProtocolRegistration
  /** Accepts no more, closes every link, resolves when all is closed. Idempotent. */
  close(): Promise<void>
}
