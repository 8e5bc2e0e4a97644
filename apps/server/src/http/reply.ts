/**
 * Writes replies straight to node's response: one head, one body, both known beforehand. Fastify's reply pipeline (hooks,
 * serialisers, type checks) has nothing to add to text that is already JSON.
 */
import type { ServerResponse } from 'node:http'

/** Header name to value, by status: a code (`404`), a class (`4xx`) or `default`. Later in that order loses. */
export type StatusHeaders = Readonly<Record<string, Readonly<Record<string, string>>>>

export interface Replier {
  /** A JSON text with every reply's headers. `text` is sent as it is; none for 204. `index`: X-Vault-Index. */
  json(
    response: ServerResponse,
    status: number,
    text: string,
    extra?: Readonly<Record<string, string>>,
    index?: string,
  ): void
  raw(
    response: ServerResponse,
    status: number,
    body: Uint8Array | string,
    extra: Readonly<Record<string, string>>,
    index?: string,
  ): void
  /** The head alone, of a body of unknown length. False when there is nobody left to answer. */
  head(response: ServerResponse, status: number, extra: Readonly<Record<string, string>>, index?: string): boolean
}

const BASE = {
  'Cache-Control': 'no-store',
  'Content-Type': 'application/json',
  'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
}

export function replier(custom: StatusHeaders = {}): Replier {
  // Flat name-value lists: the form writeHead takes without copying.
  const heads = new Map<number, string[]>()
  const head = (status: number): string[] => {
    let known = heads.get(status)
    if (known === undefined) {
      known = Object.entries({
        ...BASE,
        ...custom.default,
        ...custom[`${Math.floor(status / 100)}xx`],
        ...custom[String(status)],
      }).flat()
      heads.set(status, known)
    }
    return known
  }

  function headersOf(
    status: number,
    extra: Readonly<Record<string, string>> | undefined,
    index: string | undefined,
  ): string[] {
    const common = head(status)
    let headers: string[]
    if (extra === undefined) headers = common.slice()
    else {
      const replaced = new Set(Object.keys(extra).map((name) => name.toLowerCase()))
      headers = []
      for (let index = 0; index < common.length; index += 2) {
        if (!replaced.has(common[index]!.toLowerCase())) headers.push(common[index]!, common[index + 1]!)
      }
      for (const name of Object.keys(extra)) headers.push(name, extra[name]!)
    }
    if (index !== undefined) headers.push('X-Vault-Index', index)
    return headers
  }

  function send(
    response: ServerResponse,
    status: number,
    body: Uint8Array | string,
    extra: Readonly<Record<string, string>> | undefined,
    index: string | undefined,
  ): void {
    // After a timeout or a hang-up there is nobody left to answer.
    if (response.headersSent || response.destroyed) return
    const headers = headersOf(status, extra, index)
    if (status === 204) {
      response.writeHead(status, headers)
      response.end()
      return
    }
    headers.push('Content-Length', String(typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength))
    response.writeHead(status, headers)
    response.end(body)
  }

  return {
    json: send,
    raw: send,
    head(response, status, extra, index) {
      if (response.headersSent || response.destroyed) return false
      response.writeHead(status, headersOf(status, extra, index))
      return true
    },
  }
}
