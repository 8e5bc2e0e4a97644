/**
 * Goes the way of a replication link one step at a time (name, TCP, TLS, certificate, ALPN, admission) and says at which it ends. Without
 * a client certificate the listener refuses at the last step, and no link comes about: that is how a probe leaves a working link
 * alone, since a primary lets a newer connection take the place of an older one.
 */
import { lookup } from 'node:dns/promises'
import { connect, type Socket } from 'node:net'
import tls from 'node:tls'
import { decodeBody, frameReader, parseAddress } from '@lockstep/replication-transport'

export type ProbeStep = 'address' | 'dns' | 'tcp' | 'tls' | 'certificate' | 'alpn' | 'admission'

export type ProbeCause =
  /** Not `host:port`. */
  | 'malformed_address'
  | 'name_not_found'
  | 'refused'
  | 'unreachable'
  | 'timeout'
  | 'reset'
  | 'not_tls'
  | 'tls_version'
  | 'handshake'
  | 'foreign_authority'
  | 'expired'
  | 'not_yet_valid'
  | 'wrong_name'
  /** Neither this name nor this protocol is served there. */
  | 'not_served'
  | 'alpn'
  | 'revoked'
  | 'not_authenticated'
  | 'own_certificate_expired'
  | 'busy'

export interface ProbeTarget {
  /** `host:port`, also with `https://`. */
  address: string
  /** The name in the listener's certificate. */
  servername: string
  alpn: string
  /** PEM: the only authority the listener may come from. */
  ca: string
  /** PEM. With it the probe goes through admission, which opens a link and closes it again. Default: none. */
  client?: { cert: string; key: string }
  /** For each step. ms, default 3,000. */
  timeoutMs?: number
}

export interface ProbeResult {
  address: string
  /** The step that failed; "" when all were passed. */
  failed: ProbeStep | ''
  cause: ProbeCause | ''
  detail: string
  /** Steps passed, in order. */
  passed: ProbeStep[]
}

class Failed extends Error {
  override readonly cause: ProbeCause
  constructor(cause: ProbeCause, message: string) {
    super(message)
    this.cause = cause
  }
}

const MAX_ADMISSION_BYTES = 1024

/** Never rejects. */
export async function probeLink(target: ProbeTarget): Promise<ProbeResult> {
  const { address, timeoutMs = 3_000 } = target
  const passed: ProbeStep[] = []
  const open: Socket[] = []
  let at: ProbeStep = 'address'
  const step = async <T>(name: ProbeStep, work: () => Promise<T> | T): Promise<T> => {
    at = name
    const result = await within(timeoutMs, work)
    passed.push(name)
    return result
  }
  try {
    const { host, port } = await step('address', () => parsed(address))
    const ip = await step('dns', () => resolved(host))
    const socket = await step('tcp', () => connected(ip, port, open))
    const secure = await step('tls', () => secured(socket, target, open))
    await step('certificate', () => checkCertificate(secure, target))
    await step('alpn', () => checkAlpn(secure, target))
    if (target.client !== undefined) await step('admission', () => admitted(secure))
    return { address, failed: '', cause: '', detail: '', passed }
  } catch (error) {
    const { cause, message } = error instanceof Failed ? error : new Failed('handshake', String(error))
    return { address, failed: at, cause, detail: message, passed }
  } finally {
    // TLS before what it runs on.
    for (const socket of open.reverse()) socket.destroy()
  }
}

async function within<T>(timeoutMs: number, work: () => Promise<T> | T): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Failed('timeout', `no answer within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    return await Promise.race([Promise.resolve().then(work), late])
  } finally {
    clearTimeout(timer)
  }
}

function parsed(address: string): { host: string; port: number } {
  try {
    return parseAddress(address)
  } catch (error) {
    throw new Failed('malformed_address', (error as Error).message)
  }
}

async function resolved(host: string): Promise<string> {
  try {
    return (await lookup(host)).address
  } catch (error) {
    throw new Failed('name_not_found', `the name ${host} does not resolve (${code(error)})`)
  }
}

function connected(host: string, port: number, open: Socket[]): Promise<Socket> {
  const socket = connect({ host, port })
  open.push(socket)
  return settled(socket, 'connect', (error) => {
    const why = code(error)
    if (why === 'ECONNREFUSED') return new Failed('refused', `nothing listens on ${host}:${port}`)
    if (why === 'ETIMEDOUT') return new Failed('timeout', `${host}:${port} does not answer`)
    return new Failed('unreachable', `${host}:${port} cannot be reached (${why})`)
  })
}

function secured(socket: Socket, target: ProbeTarget, open: Socket[]): Promise<tls.TLSSocket> {
  const secure = tls.connect({
    socket,
    servername: target.servername,
    ALPNProtocols: [target.alpn],
    minVersion: 'TLSv1.3',
    ca: target.ca,
    // The certificate is a step of its own.
    rejectUnauthorized: false,
    ...target.client,
  })
  open.push(secure)
  return settled(secure, 'secureConnect', tlsFailure)
}

const TLS_FAILURES: readonly (readonly [RegExp, ProbeCause, string])[] = [
  [/NO_APPLICATION_PROTOCOL/, 'alpn', 'the listener serves no replication of this kind and set'],
  [/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION/, 'tls_version', 'the listener does not speak TLS 1.3'],
  [
    /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|BAD_RECORD_TYPE/,
    'not_tls',
    'what listens there is not TLS',
  ],
  [
    /HANDSHAKE_FAILURE|NO_SUITABLE_SIGNATURE|NO_SHARED_CIPHER|UNRECOGNIZED_NAME/,
    'not_served',
    'the listener serves no such replication set',
  ],
  [/ECONNRESET|EPIPE|CLOSED/, 'reset', 'the connection was cut during the handshake'],
]

function tlsFailure(error: unknown): Failed {
  const why = code(error)
  const found = TLS_FAILURES.find(([pattern]) => pattern.test(why))
  if (found === undefined) return new Failed('handshake', `the TLS handshake failed (${why})`)
  return new Failed(found[1], `${found[2]} (${why})`)
}

function checkCertificate(socket: tls.TLSSocket, { servername }: ProbeTarget): void {
  const certificate = socket.getPeerCertificate()
  const { valid_from: from, valid_to: to } = certificate
  const why = String(socket.authorizationError ?? '')
  if (why.includes('EXPIRED'))
    throw new Failed('expired', `the listener's certificate, or its authority's, was valid until ${to}`)
  if (why.includes('NOT_YET_VALID'))
    throw new Failed('not_yet_valid', `the listener's certificate is valid from ${from}`)
  const mismatch = tls.checkServerIdentity(servername, certificate)
  if (why.includes('ALTNAME') || (socket.authorized && mismatch !== undefined)) {
    throw new Failed('wrong_name', "the listener's certificate is for another replication set")
  }
  if (!socket.authorized) {
    throw new Failed('foreign_authority', `the listener's certificate comes from another authority (${why})`)
  }
}

function checkAlpn(socket: tls.TLSSocket, { alpn }: ProbeTarget): void {
  if (socket.alpnProtocol !== alpn) throw new Failed('alpn', `the listener did not choose protocol ${alpn}`)
}

const REFUSALS: Readonly<Record<string, ProbeCause>> = {
  TRANSPORT_REVOKED: 'revoked',
  TRANSPORT_NOT_AUTHENTICATED: 'not_authenticated',
  TRANSPORT_CERTIFICATE_EXPIRED: 'own_certificate_expired',
  TRANSPORT_BUSY: 'busy',
  TRANSPORT_WRONG_PROTOCOL: 'not_served',
}

/** The listener's first frame says whether it takes this client's certificate. */
function admitted(socket: tls.TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    const reader = frameReader(MAX_ADMISSION_BYTES, (body) => {
      const { code: refusal, message } = (decodeBody(body) ?? {}) as { code?: unknown; message?: unknown }
      if (refusal === '') return resolve()
      reject(
        new Failed(REFUSALS[String(refusal)] ?? 'handshake', `the listener refused: ${String(message).slice(0, 300)}`),
      )
    })
    socket.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk)
      } catch {
        // What follows the admission is the link's; before it, an answer of another kind.
        reject(new Failed('handshake', 'the listener answered with something else than an admission'))
      }
    })
    socket.once('error', (error) => reject(tlsFailure(error)))
    socket.once('close', () => reject(new Failed('reset', 'the listener closed the connection unheard')))
  })
}

function settled<T extends Socket>(socket: T, event: string, failure: (error: unknown) => Failed): Promise<T> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => resolve(socket))
    socket.on('error', (error) => reject(failure(error)))
    socket.once('close', () => reject(failure({ code: 'CLOSED' })))
  })
}

function code(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code ?? 'unknown')
}
