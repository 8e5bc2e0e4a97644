/** Requests and answers of HTTP as they pass from node to node: whole, and within limits. */
export interface ForwardedRequest {
  method: string
  /** Path and query as the client sent them. */
  url: string
  /** Name and value in turn, without those about the client's connection. */
  headers: readonly string[]
  body: Uint8Array
  /** The client's, for audit and for tokens bound to networks. */
  remoteAddress: string
  remotePort: number
  /** ms since the epoch by this node's clock. */
  deadline: number
}

export interface ForwardedAnswer {
  status: number
  /** Name and value in turn. */
  headers: readonly string[]
  body: Uint8Array
}

export const HTTP_LIMITS = {
  /** Of a request or an answer; what is larger is not forwarded. Within a link's frame of 40 MiB. */
  bodyBytes: 38 * 1024 * 1024,
  /** Of url, and of all headers together. */
  headBytes: 256 * 1024,
  headers: 1000,
  withinMs: 24 * 3_600_000,
} as const
