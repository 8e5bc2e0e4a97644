/** Calls of the server that has the key: bounded in time and size, and with no token in any error. */
import { Agent, type IncomingMessage, request } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { SealError } from '@lockstep/seal'

export interface TlsOptions {
  /** Certificates in PEM to trust instead of the system's. */
  ca?: string | Buffer
  /** Client certificate and key in PEM; both or neither. */
  cert?: string | Buffer
  key?: string | Buffer
  /** Name to expect in the server's certificate instead of the address's host. */
  serverName?: string
  /** Accepts any certificate. */
  skipVerify?: boolean
}

export interface VaultConnectionOptions {
  /** `https://host:port`; a path in it goes before `/v1`. */
  address: string
  /** Asked before every call, so that it may change. */
  token(): string | Promise<string>
  /** "" = root. */
  namespace: string
  tls: TlsOptions
  /** Of one call with its redirects, ms. */
  timeoutMs: number
}

export interface VaultAnswer {
  status: number
  /** An object; `{}` when there was no JSON object. */
  body: Record<string, unknown>
}

export interface VaultConnection {
  /** Resolves for every status. Rejects with `SEAL_UNAVAILABLE` when there is no answer. */
  call(method: 'GET' | 'PUT', path: string, body?: Record<string, unknown>): Promise<VaultAnswer>
  /** Ends what is under way; later calls reject. */
  close(): void
}

const MAX_ANSWER_BYTES = 1024 * 1024
const MAX_REDIRECTS = 2
const MAX_TOKEN_LENGTH = 8192

export function vaultConnection(options: VaultConnectionOptions): VaultConnection {
  const { namespace, tls } = options
  const base = new URL(options.address)
  const ended = new AbortController()
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  const secureAgent = new HttpsAgent({
    keepAlive: true,
    maxSockets: 4,
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...(tls.cert === undefined ? {} : { cert: tls.cert, key: tls.key }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
    rejectUnauthorized: tls.skipVerify !== true,
  })

  function send(method: string, url: URL, token: string, text: string | undefined, signal: AbortSignal) {
    const secure = url.protocol === 'https:'
    const headers: Record<string, string | number> = { 'x-vault-request': 'true', 'x-vault-token': token }
    if (namespace !== '') headers['x-vault-namespace'] = namespace
    if (text !== undefined) {
      headers['content-type'] = 'application/json'
      headers['content-length'] = Buffer.byteLength(text)
    }
    return new Promise<{ status: number; location: string | undefined; text: string }>((resolve, reject) => {
      const options = { method, headers, signal, agent: secure ? secureAgent : agent }
      const outgoing = (secure ? httpsRequest : request)(url, options, (incoming) => {
        readText(incoming).then(
          (text) => resolve({ status: incoming.statusCode ?? 0, location: incoming.headers.location, text }),
          reject,
        )
      })
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        // The server had closed a connection kept from an earlier call: nothing of this one was done.
        const stale = outgoing.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
        if (stale && !signal.aborted) send(method, url, token, text, signal).then(resolve, reject)
        else reject(error)
      })
      outgoing.end(text)
    })
  }

  return {
    async call(method, path, body) {
      const token = await options.token()
      if (token === '' || token.length > MAX_TOKEN_LENGTH || !/^[\x21-\x7e]+$/.test(token)) {
        throw new SealError('SEAL_UNAVAILABLE', 'the token of the transit server is empty or not a token')
      }
      const text = body === undefined ? undefined : JSON.stringify(body)
      const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(options.timeoutMs)])
      let url = new URL(`${base.pathname.replace(/\/+$/, '')}/v1/${path}`, base)
      try {
        for (let redirects = 0; ; redirects++) {
          const answer = await send(method, url, token, text, signal)
          const next = redirectTarget(answer, url)
          if (next === undefined) return { status: answer.status, body: parseObject(answer.text) }
          if (redirects === MAX_REDIRECTS) throw new Error('too many redirects')
          url = next
        }
      } catch (error) {
        if (error instanceof SealError) throw error
        throw unreachable(base, error, signal)
      }
    },
    close() {
      ended.abort()
      agent.destroy()
      secureAgent.destroy()
    },
  }
}

/** A standby names the active node. The token never goes from a protected connection to an unprotected one. */
function redirectTarget(answer: { status: number; location: string | undefined }, from: URL): URL | undefined {
  if (answer.status !== 307 && answer.status !== 308 && answer.status !== 301 && answer.status !== 302) return undefined
  if (answer.location === undefined) return undefined
  const next = new URL(answer.location, from)
  const allowed = next.protocol === 'https:' || (next.protocol === 'http:' && from.protocol === 'http:')
  if (!allowed) throw new Error('it redirects to an unprotected connection')
  return next
}

async function readText(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_ANSWER_BYTES) {
      incoming.destroy()
      throw new Error('its answer is too long')
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length).toString('utf8')
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
      return parsed as Record<string, unknown>
  } catch {
    // The status says enough.
  }
  return {}
}

/** Host and reason: neither path nor headers, and no cause, as its fields may quote what was sent. */
function unreachable({ host }: URL, error: unknown, signal: AbortSignal): SealError {
  const { code, message } = error as NodeJS.ErrnoException
  const reason = signal.aborted ? 'no answer in time' : (code ?? message)
  return new SealError('SEAL_UNAVAILABLE', `the transit server ${host} cannot be reached: ${reason}`)
}
