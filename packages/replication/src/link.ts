import type { Message } from './messages.ts'

/**
 * One established connection between a primary and a secondary: ordered, reliable while it lasts, both ways. Who is at the
 * other end was proved by the transport (mutual TLS); `peer` names it.
 */
export interface Link {
  /** Common name in the peer's certificate: the secondary's activation id at the primary, the set's cluster id at the secondary. */
  readonly peer: string
  /** Puts a message in the outgoing queue. After the link has closed it does nothing. Never throws for a valid message. */
  send(message: Message): void
  /** Resolves when the outgoing queue is short enough for more (at once when it is), and when the link has closed. */
  writable(): Promise<void>
  /**
   * Incoming messages, already through `parseMessage`; reading slowly holds the peer back. Ends when the link closes, for
   * whatever reason. Iterate once.
   */
  readonly messages: AsyncIterable<Message>
  /** Sends what is queued if it can within a second or so, then closes. Idempotent. */
  close(reason?: string): void
  /** Resolves when the link has closed: with `error` undefined when either end closed it in order. Never rejects. */
  readonly closed: Promise<{ error?: Error }>
}
