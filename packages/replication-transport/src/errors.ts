export type TransportErrorCode =
  /** The peer's address refused the connection, is unreachable, or does not resolve. */
  | 'TRANSPORT_REFUSED'
  | 'TRANSPORT_TIMEOUT'
  /** No chain from the peer's certificate to the given CA. */
  | 'TRANSPORT_UNKNOWN_AUTHORITY'
  /** The peer's certificate, or ours, is outside its validity period. */
  | 'TRANSPORT_CERTIFICATE_EXPIRED'
  /** The peer's certificate is for another name. */
  | 'TRANSPORT_WRONG_NAME'
  /** The listener knows the authority but not, or no longer, this certificate. */
  | 'TRANSPORT_REVOKED'
  /** The listener refused our certificate: none sent, or signed by an authority it does not know. */
  | 'TRANSPORT_NOT_AUTHENTICATED'
  /** The listener does not serve this protocol, or not under this name. */
  | 'TRANSPORT_WRONG_PROTOCOL'
  /** The two ends share no TLS version: below 1.3 nothing is spoken. */
  | 'TRANSPORT_WRONG_TLS_VERSION'
  /** Any other failure of the handshake. */
  | 'TRANSPORT_HANDSHAKE'
  /** A frame that is empty, too large, or not a message. */
  | 'TRANSPORT_BAD_FRAME'
  /** Nothing arrived for too long, or the peer stopped reading. */
  | 'TRANSPORT_STALLED'
  /** The link was closed by the peer or the network. */
  | 'TRANSPORT_DISCONNECTED'
  /** The link was closed on this side. */
  | 'TRANSPORT_CLOSED'
  /** The listener has as many connections as it may. */
  | 'TRANSPORT_BUSY'
  | 'TRANSPORT_INVALID'

/** Every error of this package. Messages name addresses, protocols and peer ids, never what was sent. */
export class TransportError extends Error {
  override readonly name = 'TransportError'
  readonly code: TransportErrorCode
  constructor(code: TransportErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
