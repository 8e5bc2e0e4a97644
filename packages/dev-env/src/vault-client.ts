/** A bare client of the HTTP API, for tests and the demo: real programs use `bao`, hvac, node-vault or another Vault client. */
import { Agent, request } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'

export interface VaultReply {
  status: number
  headers: Record<string, string | string[] | undefined>
  /** The parsed body; undefined when it was empty. */
  // biome-ignore lint/suspicious/noExplicitAny: replies are as many shapes as the API has paths
  body: any
}

export interface CallOptions {
  token?: string
  headers?: Record<string, string>
  timeoutMs?: number
}

export class VaultRequestError extends Error {
  override readonly name = 'VaultRequestError'
  readonly reply: VaultReply
  constructor(message: string, reply: VaultReply) {
    super(message)
    this.reply = reply
  }
}

export interface VaultClient {
  readonly address: string
  token: string
  /** Never rejects for an HTTP status; rejects when there is no answer. */
  call(method: string, path: string, body?: unknown, options?: CallOptions): Promise<VaultReply>
  /** As `call`, and rejects with `VaultRequestError` for a status of 400 and above. */
  read(path: string, options?: CallOptions): Promise<VaultReply>
  write(path: string, body?: unknown, options?: CallOptions): Promise<VaultReply>
  delete(path: string, options?: CallOptions): Promise<VaultReply>
  list(path: string, options?: CallOptions): Promise<VaultReply>
  close(): void
}

/** How one request gets its answer. */
export type Transport = (method: string, path: string, body: unknown, options: CallOptions) => Promise<VaultReply>

export function vaultClient(address: string, options: { token?: string; ca?: string } = {}): VaultClient {
  const secure = address.startsWith('https:')
  const agent = secure ? new HttpsAgent({ keepAlive: true, ca: options.ca }) : new Agent({ keepAlive: true })
  const send = secure ? httpsRequest : request

  const call: Transport = (method, path, body, { token = '', ...callOptions }) => {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
    return new Promise((resolve, reject) => {
      const outgoing = send(
        new URL(`/v1/${path}`, address),
        {
          method,
          agent,
          timeout: callOptions.timeoutMs ?? 30_000,
          headers: {
            'x-vault-request': 'true',
            ...(token === '' ? {} : { 'x-vault-token': token }),
            ...(text === undefined ? {} : { 'content-length': Buffer.byteLength(text) }),
            ...callOptions.headers,
          },
        },
        (incoming) => {
          const chunks: Buffer[] = []
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
          incoming.on('error', reject)
          incoming.on('end', () => {
            const reply = Buffer.concat(chunks).toString('utf8')
            resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: parseBody(reply) })
          })
        },
      )
      outgoing.on('timeout', () => outgoing.destroy(new Error(`${method} ${path}: no answer in time`)))
      outgoing.on('error', reject)
      outgoing.end(text)
    })
  }

  return clientOver({ address, token: options.token, call, close: () => agent.destroy() })
}

/** A client whose requests go another way. `call` is always told the token. */
export function clientOver(way: { address: string; token?: string; call: Transport; close(): void }): VaultClient {
  const call: VaultClient['call'] = (method, path, body, options) =>
    way.call(method, path, body, { ...options, token: options?.token ?? client.token })

  async function checked(method: string, path: string, body?: unknown, callOptions?: CallOptions): Promise<VaultReply> {
    const reply = await call(method, path, body, callOptions)
    if (reply.status < 400) return reply
    const errors = Array.isArray(reply.body?.errors) ? reply.body.errors.join('; ') : 'no error text'
    throw new VaultRequestError(`${method} ${path}: ${reply.status}: ${errors}`, reply)
  }

  const client: VaultClient = {
    address: way.address,
    token: way.token ?? '',
    call,
    read: (path, callOptions) => checked('GET', path, undefined, callOptions),
    write: (path, body, callOptions) => checked('PUT', path, body ?? {}, callOptions),
    delete: (path, callOptions) => checked('DELETE', path, undefined, callOptions),
    list: (path, callOptions) => checked('LIST', path, undefined, callOptions),
    close: way.close,
  }
  return client
}

function parseBody(text: string): unknown {
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
