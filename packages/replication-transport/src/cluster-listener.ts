import { constants, type X509Certificate } from 'node:crypto'
import type { AddressInfo, Socket } from 'node:net'
import tls from 'node:tls'
import type { Link } from '@lockstep/replication'
import { admissionFrame, type RefusalCode } from './admission.ts'
import type {
  ClusterListener,
  ClusterListenerOptions,
  ClusterProtocol,
  ConnectionRefusal,
  ProtocolRegistration,
} from './cluster-protocol.ts'
import { TransportError } from './errors.ts'
import { streamLink } from './stream-link.ts'
import { describeFailure } from './tls-failure.ts'

interface Registered {
  protocol: ClusterProtocol
  context: tls.SecureContext
  links: Map<Link, string>
  /** Grows with every `disconnect`. */
  revision: number
  active: boolean
}

class Refused extends Error {
  readonly code: RefusalCode
  constructor(code: RefusalCode, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * One TLS 1.3 port for every protocol between clusters and nodes. The server name a client asks for chooses certificate and
 * authority, so each protocol has its own root of trust; the ALPN protocol must be that name's own.
 */
export async function clusterListener(options: ClusterListenerOptions): Promise<ClusterListener> {
  const handshakeTimeout = options.handshakeTimeoutMs ?? 10_000
  const protocols = new Map<string, Registered>()
  const connections = new Set<Socket>()
  let closing: Promise<void> | undefined

  const server = tls.createServer({
    minVersion: 'TLSv1.3',
    requestCert: true,
    // Checked in `admit`, which can tell the client why; nothing is read from an unauthorized one.
    rejectUnauthorized: false,
    handshakeTimeout,
    // No resumption: a session made under one authority must not open another protocol, and revocation counts at once.
    secureOptions: constants.SSL_OP_NO_TICKET,
    SNICallback: (servername, done) => done(null, protocols.get(servername)?.context),
    ALPNCallback: ({ servername, protocols: offered }) => {
      const alpn = protocols.get(servername)?.protocol.alpn
      return alpn !== undefined && offered.includes(alpn) ? alpn : undefined
    },
  })
  server.maxConnections = options.maxConnections ?? 256

  const report = (
    socket: Pick<tls.TLSSocket, 'remoteAddress'> | undefined,
    refusal: Omit<ConnectionRefusal, 'remoteAddress'>,
  ) => options.onRefused?.({ remoteAddress: socket?.remoteAddress ?? '', ...refusal })

  const admit = async (socket: tls.TLSSocket, entry: Registered): Promise<string> => {
    const certificate = authenticated(socket)
    for (;;) {
      const { revision } = entry
      const peer = await entry.protocol.authorize(certificate)
      if (!entry.active || closing) throw new Refused('TRANSPORT_WRONG_PROTOCOL', 'the protocol is served no longer')
      if (revision !== entry.revision) continue
      if ('refused' in peer) throw new Refused('TRANSPORT_REVOKED', peer.refused)
      let links = 0
      for (const id of entry.links.values()) if (id === peer.id) links++
      if (links >= (entry.protocol.maxLinksPerPeer ?? 4))
        throw new Refused('TRANSPORT_BUSY', 'too many links of this peer')
      return peer.id
    }
  }

  const open = (socket: tls.TLSSocket, entry: Registered, id: string) => {
    const { protocol } = entry
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 15_000)
    socket.write(admissionFrame())
    const link = streamLink(socket, id, protocol)
    entry.links.set(link, id)
    void link.closed.then(() => entry.links.delete(link))
    protocol.onLink(link)
  }

  const refuse = (socket: tls.TLSSocket, alpn: string, servername: string, error: unknown) => {
    const code = error instanceof Refused ? error.code : 'TRANSPORT_HANDSHAKE'
    // Why `authorize` failed is for the log only.
    const message = error instanceof Refused ? error.message : 'the certificate could not be checked'
    report(socket, { alpn, servername, code, message: error instanceof Error ? error.message : message })
    socket.end(admissionFrame({ code, message }))
    // A client that does not take its leave is left.
    setTimeout(() => socket.destroy(), 1000).unref()
  }

  server.on('secureConnection', async (socket) => {
    const servername = typeof socket.servername === 'string' ? socket.servername : ''
    const alpn = socket.alpnProtocol || ''
    const entry = protocols.get(servername)
    const timer = setTimeout(() => socket.destroy(), handshakeTimeout)
    const onError = () => {}
    socket.on('error', onError)
    try {
      if (entry?.protocol.alpn !== alpn) throw new Refused('TRANSPORT_WRONG_PROTOCOL', 'protocol not served here')
      const id = await admit(socket, entry)
      if (socket.destroyed) return
      open(socket, entry, id)
      socket.off('error', onError)
    } catch (error) {
      refuse(socket, alpn, servername, error)
    } finally {
      clearTimeout(timer)
    }
  })

  server.on('connection', (connection) => {
    connections.add(connection)
    connection.on('close', () => connections.delete(connection))
  })
  server.on('tlsClientError', (error, socket) => {
    const servername = typeof socket?.servername === 'string' ? socket.servername : ''
    report(socket, { alpn: '', servername, ...describeFailure(error) })
    // Node leaves it open after a handshake timeout.
    socket.destroy()
  })
  server.on('drop', (data) => {
    const remoteAddress = data?.remoteAddress ?? ''
    report({ remoteAddress }, { alpn: '', servername: '', code: 'TRANSPORT_BUSY', message: 'too many connections' })
  })

  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new TransportError('TRANSPORT_INVALID', `cannot listen on ${options.host}:${options.port}`, { cause })),
    )
    server.listen(options.port, options.host, resolve)
  })
  server.on('error', () => {})
  const { address, port } = server.address() as AddressInfo

  const closeLinks = async (entry: Registered, reason: string | undefined) => {
    const links = [...entry.links.keys()]
    for (const link of links) link.close(reason)
    await Promise.all(links.map((link) => link.closed))
  }

  const register = (protocol: ClusterProtocol): ProtocolRegistration => {
    const { servername } = protocol
    if (closing) throw new TransportError('TRANSPORT_CLOSED', 'the listener is closed')
    if (protocols.has(servername)) {
      throw new TransportError('TRANSPORT_INVALID', `server name ${JSON.stringify(servername)} is already registered`)
    }
    const entry: Registered = {
      protocol,
      context: secureContext(protocol),
      links: new Map(),
      revision: 0,
      active: true,
    }
    protocols.set(servername, entry)
    return {
      disconnect(peerId, reason) {
        entry.revision++
        for (const [link, id] of entry.links) if (id === peerId) link.close(reason)
      },
      links: () => [...entry.links.keys()],
      async unregister(reason) {
        if (entry.active) protocols.delete(servername)
        entry.active = false
        await closeLinks(entry, reason ?? 'the protocol is served no longer')
      },
    }
  }

  return {
    address: { host: address, port },
    register,
    close() {
      closing ??= (async () => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()))
        await Promise.all([...protocols.values()].map((entry) => closeLinks(entry, 'the listener is closing')))
        // Those that never became a link.
        for (const connection of connections) connection.destroy()
        await closed
      })()
      return closing
    },
  }
}

function secureContext({ cert, key, ca }: ClusterProtocol): tls.SecureContext {
  try {
    return tls.createSecureContext({ cert, key, ca, minVersion: 'TLSv1.3' })
  } catch (cause) {
    throw new TransportError('TRANSPORT_INVALID', 'certificate, key or authority is not usable', { cause })
  }
}

/** The client's certificate, verified by OpenSSL against the protocol's authority. */
function authenticated(socket: tls.TLSSocket): X509Certificate {
  const certificate = socket.getPeerX509Certificate()
  if (!certificate) throw new Refused('TRANSPORT_NOT_AUTHENTICATED', 'no client certificate')
  if (!socket.authorized || socket.isSessionReused()) {
    const why = String(socket.authorizationError ?? 'not verified')
    const expired = /CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/.test(why)
    throw new Refused(
      expired ? 'TRANSPORT_CERTIFICATE_EXPIRED' : 'TRANSPORT_NOT_AUTHENTICATED',
      expired
        ? 'client certificate outside its validity period'
        : `client certificate of an unknown authority (${why})`,
    )
  }
  return certificate
}
