import tls from 'node:tls'
import type { Link } from '@lockstep/replication'
import { type Address, parseAddress } from './address.ts'
import { awaitAdmission } from './admission.ts'
import { TransportError } from './errors.ts'
import { type LinkOptions, streamLink } from './stream-link.ts'
import { describeFailure } from './tls-failure.ts'

export interface DialOptions extends LinkOptions {
  /** Tried in this order: `host:port`, `https://host:port`, `[v6]:port`; port 8201 when left out. */
  addresses: readonly string[]
  /** The name in the listener's certificate. */
  servername: string
  alpn: string
  /** PEM. The only authority a listener may come from. */
  ca: string
  cert: string
  key: string
  /** What `link.peer` shall be. Default: the common name in the listener's certificate. */
  peer?: string
  signal?: AbortSignal
  /** For one address, from connecting to being accepted. ms, default 10,000. */
  timeoutMs?: number
  /** Default: one address after the other, each once, for as long as `timeoutMs`. */
  patience?: Patience | undefined
  /** The address the link leads to, as it was given. Told before `dialCluster` resolves. */
  onAccepted?: ((address: string) => void) | undefined
}

/** For addresses of several nodes, of which one at most accepts and any may hang. ms. */
export interface Patience {
  /** How long an address may take to connect, and once connected to accept, before the next one is tried beside it. */
  connectMs: number
  acceptMs: number
  /** While an address hangs, those that have failed are tried again this long after. */
  againMs: number
}

/**
 * A link to the first address that accepts. Rejects with a `TransportError`: that of the only address, or one that lists every
 * address's reason and has the code of the most telling one (anything before refused and timed out). An aborted signal
 * rejects with its reason.
 */
export async function dialCluster(options: DialOptions): Promise<Link> {
  const { addresses, signal } = options
  if (addresses.length === 0) throw new TransportError('TRANSPORT_INVALID', 'no address to dial')
  const parsed = addresses.map(parseAddress)
  signal?.throwIfAborted()
  const { index, link } = await firstThatAccepts(parsed, options)
  options.onAccepted?.(addresses[index]!)
  return link
}

function firstThatAccepts(addresses: readonly Address[], options: DialOptions): Promise<{ index: number; link: Link }> {
  const { signal, patience } = options
  const decided = new AbortController()
  const given = signal === undefined ? decided.signal : AbortSignal.any([signal, decided.signal])
  /** By index, the last one of each. */
  const failures = new Map<number, TransportError>()
  const timers = new Set<NodeJS.Timeout>()
  let begun = 0

  return new Promise((resolve, reject) => {
    const end = (outcome: () => void): void => {
      if (decided.signal.aborted) return
      decided.abort()
      for (const timer of timers) clearTimeout(timer)
      outcome()
    }
    signal?.addEventListener('abort', () => end(() => reject(signal.reason)), { signal: decided.signal })

    const later = (run: () => void, ms: number): (() => void) => {
      const cancel = () => {
        clearTimeout(timer)
        timers.delete(timer)
      }
      const timer = setTimeout(() => {
        cancel()
        run()
      }, ms)
      timers.add(timer)
      return cancel
    }

    const attempt = (index: number, slow: (ms: number | undefined) => void, over: () => void): void => {
      const address = addresses[index]!
      slow(patience?.connectMs)
      dial(address, options, given, () => slow(patience?.acceptMs)).then(
        (link) => {
          if (decided.signal.aborted) link.close('another address accepted before')
          else end(() => resolve({ index, link }))
        },
        (error: unknown) => {
          if (decided.signal.aborted) return
          const { code, message } = describeFailure(error)
          failures.set(index, new TransportError(code, `${address.text}: ${message}`, { cause: error }))
          over()
          if (failures.size === addresses.length) {
            end(() => reject(combined(addresses.map((_, at) => failures.get(at)!))))
          } else if (patience !== undefined) {
            later(
              () =>
                attempt(
                  index,
                  () => {},
                  () => {},
                ),
              patience.againMs,
            )
          }
        },
      )
    }

    const next = (): void => {
      if (begun === addresses.length) return
      let cancel = () => {}
      /** Whatever this address does next, another one is begun once. */
      let passedOn = false
      const passOn = (): void => {
        cancel()
        if (passedOn) return
        passedOn = true
        next()
      }
      const slow = (ms: number | undefined): void => {
        cancel()
        if (ms !== undefined && !passedOn) cancel = later(passOn, ms)
      }
      attempt(begun++, slow, passOn)
    }
    next()
  })
}

function combined(failures: readonly TransportError[]): TransportError {
  if (failures.length === 1) return failures[0]!
  const telling =
    failures.find(({ code }) => code !== 'TRANSPORT_REFUSED' && code !== 'TRANSPORT_TIMEOUT') ?? failures[0]!
  const message = failures.map((failure) => failure.message).join('; ')
  return new TransportError(telling.code, message, { cause: new AggregateError(failures) })
}

async function dial(
  address: Address,
  options: DialOptions,
  signal: AbortSignal,
  onConnected: () => void,
): Promise<Link> {
  const { servername, alpn } = options
  const timeoutMs = options.timeoutMs ?? 10_000
  const socket = tls.connect({
    host: address.host,
    port: address.port,
    servername,
    ALPNProtocols: [alpn],
    minVersion: 'TLSv1.3',
    ca: options.ca,
    cert: options.cert,
    key: options.key,
    rejectUnauthorized: true,
    checkServerIdentity: (_host, certificate) => tls.checkServerIdentity(servername, certificate),
  })
  const abandon = () => socket.destroy(new TransportError('TRANSPORT_CLOSED', 'dialing was given up'))
  const timer = setTimeout(() => {
    socket.destroy(new TransportError('TRANSPORT_TIMEOUT', `not accepted within ${timeoutMs} ms`))
  }, timeoutMs)
  signal.addEventListener('abort', abandon, { once: true })
  socket.once('connect', onConnected)
  try {
    await secured(socket)
    if (socket.alpnProtocol !== alpn) {
      throw new TransportError('TRANSPORT_WRONG_PROTOCOL', `the listener did not choose protocol ${alpn}`)
    }
    await awaitAdmission(socket)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 15_000)
    return streamLink(socket, options.peer ?? String(socket.getPeerCertificate().subject.CN), options)
  } catch (error) {
    socket.on('error', () => {})
    socket.destroy()
    throw error
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abandon)
  }
}

function secured(socket: tls.TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => settle(() => reject(error))
    const onClose = () =>
      settle(() => reject(new TransportError('TRANSPORT_HANDSHAKE', 'the connection was closed during the handshake')))
    const onSecure = () => settle(resolve)
    const settle = (action: () => void) => {
      socket.off('error', onError).off('close', onClose).off('secureConnect', onSecure)
      action()
    }
    socket.on('error', onError).on('close', onClose).on('secureConnect', onSecure)
  })
}
