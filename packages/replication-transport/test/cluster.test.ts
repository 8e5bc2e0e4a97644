import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import type { Link } from '@lockstep/replication'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  ALPN,
  type ClusterListener,
  type ClusterListenerOptions,
  type ClusterProtocol,
  type ConnectionRefusal,
  clusterListener,
  type DialOptions,
  dialCluster,
} from '../src/index.ts'
import { type ReplicationSet, replicationSet } from './certificates.ts'

let set: ReplicationSet
let other: ReplicationSet
let s1: { cert: string; key: string }
beforeAll(async () => {
  ;[set, other] = await Promise.all([replicationSet('c1'), replicationSet('c2')])
  s1 = await set.client('s1')
})

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

async function listen(options: Partial<ClusterListenerOptions> = {}) {
  const refusals: ConnectionRefusal[] = []
  const listener = await clusterListener({
    host: '127.0.0.1',
    port: 0,
    onRefused: (refusal) => refusals.push(refusal),
    ...options,
  })
  closers.push(() => listener.close())
  return { listener, refusals }
}

const serve = (listener: ClusterListener, of: ReplicationSet, protocol: Partial<ClusterProtocol> = {}) => {
  const links: Link[] = []
  const registration = listener.register({
    alpn: ALPN.performance,
    servername: of.servername,
    ...of.server,
    ca: of.ca,
    authorize: (certificate) => ({ id: String(/CN=(.*)/.exec(certificate.subject)?.[1]) }),
    onLink: (link) => links.push(link),
    ...protocol,
  })
  return { ...registration, accepted: links }
}

const dial = (listener: ClusterListener, options: Partial<DialOptions> = {}) =>
  dialCluster({
    addresses: [`127.0.0.1:${listener.address.port}`],
    servername: set.servername,
    alpn: ALPN.performance,
    ca: set.ca,
    ...s1,
    ...options,
  })

describe('one port, several roots of trust', () => {
  test('each protocol has its own certificate, authority and peers', async () => {
    const { listener, refusals } = await listen()
    const first = serve(listener, set)
    const second = serve(listener, other, { alpn: ALPN.dr })
    const [a, b] = await Promise.all([
      dial(listener),
      dial(listener, { servername: other.servername, alpn: ALPN.dr, ca: other.ca, ...(await other.client('s2')) }),
    ])
    expect([a.peer, b.peer]).toEqual([set.servername, other.servername])
    expect([first.accepted[0]!.peer, second.accepted[0]!.peer]).toEqual(['s1', 's2'])
    b.send({ type: 'synced', round: 7 })
    const received = await second.accepted[0]!.messages[Symbol.asyncIterator]().next()
    expect(received.value).toEqual({ type: 'synced', round: 7 })
    expect(refusals).toEqual([])
  })

  test('a name may be registered once, and again after it was given up', async () => {
    const { listener } = await listen()
    const first = serve(listener, set)
    expect(() => serve(listener, set, { alpn: ALPN.dr })).toThrow(
      expect.objectContaining({ code: 'TRANSPORT_INVALID' }),
    )
    expect(() => serve(listener, other, { key: 'nonsense' })).toThrow(
      expect.objectContaining({ code: 'TRANSPORT_INVALID' }),
    )
    const link = await dial(listener)
    await first.unregister()
    expect(await link.closed).toEqual({})
    expect(first.links()).toEqual([])
    await expect(dial(listener)).rejects.toMatchObject({ code: 'TRANSPORT_WRONG_PROTOCOL' })
    serve(listener, set, { alpn: ALPN.dr })
    await first.unregister()
    await dial(listener, { alpn: ALPN.dr })
  })
})

describe('refused, with the reason at both ends', () => {
  const cases: [
    string,
    string,
    () => Promise<Partial<DialOptions>> | Partial<DialOptions>,
    Partial<ConnectionRefusal> | undefined,
  ][] = [
    [
      'a client of another authority',
      'TRANSPORT_NOT_AUTHENTICATED',
      () => other.client('s1'),
      { code: 'TRANSPORT_NOT_AUTHENTICATED', alpn: ALPN.performance },
    ],
    [
      'an expired client',
      'TRANSPORT_CERTIFICATE_EXPIRED',
      () => set.client('s1', { now: Date.now() - 3_600_000, lifetime: 1000 }),
      { code: 'TRANSPORT_CERTIFICATE_EXPIRED' },
    ],
    [
      'a client with a certificate for servers',
      'TRANSPORT_NOT_AUTHENTICATED',
      () => set.server,
      { code: 'TRANSPORT_NOT_AUTHENTICATED' },
    ],
    ['another protocol', 'TRANSPORT_WRONG_PROTOCOL', () => ({ alpn: ALPN.dr }), { code: 'TRANSPORT_WRONG_PROTOCOL' }],
    [
      'a name not served',
      'TRANSPORT_WRONG_PROTOCOL',
      () => ({ servername: other.servername, ca: other.ca }),
      { code: 'TRANSPORT_WRONG_PROTOCOL' },
    ],
    // The listener may only see an alert here.
    ['a listener of another authority', 'TRANSPORT_UNKNOWN_AUTHORITY', () => ({ ca: other.ca }), undefined],
  ]
  test.each(cases)('%s', async (_, code, options, refusal) => {
    const { listener, refusals } = await listen()
    const { accepted } = serve(listener, set)
    const error = await dial(listener, await options()).then(
      () => undefined,
      (error) => error,
    )
    expect(error).toMatchObject({ name: 'TransportError', code })
    expect(error.message).toContain(`127.0.0.1:${listener.address.port}`)
    expect(accepted).toEqual([])
    if (refusal) await expect.poll(() => refusals).toEqual([expect.objectContaining(refusal)])
    expect(refusals.every(({ remoteAddress }) => remoteAddress === '127.0.0.1')).toBe(true)
  })

  test('a listener whose certificate has expired, or is for another name', async () => {
    const { listener } = await listen()
    serve(listener, set, await set.otherServer({ now: Date.now() - 3_600_000, lifetime: 1000 }))
    await expect(dial(listener)).rejects.toMatchObject({ code: 'TRANSPORT_CERTIFICATE_EXPIRED' })
    const { listener: second } = await listen()
    serve(second, set, { servername: 'other.name' })
    await expect(dial(second, { servername: 'other.name' })).rejects.toMatchObject({ code: 'TRANSPORT_WRONG_NAME' })
  })

  /** What a client that is not ours gets: its first bytes, or its error. */
  const foreign = (port: number, options: tls.ConnectionOptions): Promise<string> =>
    new Promise((resolve) => {
      const socket = tls.connect({ host: '127.0.0.1', port, ca: set.ca, servername: set.servername, ...options })
      socket.on('data', (data) => resolve(data.toString('latin1')))
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)))
      socket.on('close', () => resolve('closed'))
    })

  test('no client certificate', async () => {
    const { listener, refusals } = await listen()
    const { accepted } = serve(listener, set)
    const said = await foreign(listener.address.port, { ALPNProtocols: [ALPN.performance] })
    expect(said).toContain('TRANSPORT_NOT_AUTHENTICATED')
    expect(refusals).toMatchObject([{ code: 'TRANSPORT_NOT_AUTHENTICATED', message: 'no client certificate' }])
    expect(accepted).toEqual([])
  })

  test('TLS 1.2, no ALPN, no server name, no TLS at all', async () => {
    const { listener, refusals } = await listen()
    const { accepted } = serve(listener, set)
    const { port } = listener.address
    const alpn = { ALPNProtocols: [ALPN.performance] }
    expect(await foreign(port, { ...s1, ...alpn, maxVersion: 'TLSv1.2' })).toContain('ALERT_PROTOCOL_VERSION')
    expect(await foreign(port, s1)).toContain('TRANSPORT_WRONG_PROTOCOL')
    expect(await foreign(port, { ...s1, ...alpn, servername: '' })).toContain('NO_APPLICATION_PROTOCOL')
    const plain = net.connect(port, '127.0.0.1', () => plain.write('GET / HTTP/1.1\r\n\r\n'))
    plain.on('error', () => {})
    await new Promise((resolve) => plain.on('close', resolve))
    await expect.poll(() => refusals.length).toBe(4)
    expect(refusals.map(({ code }) => code)).toEqual([
      'TRANSPORT_WRONG_TLS_VERSION',
      'TRANSPORT_WRONG_PROTOCOL',
      'TRANSPORT_WRONG_PROTOCOL',
      'TRANSPORT_HANDSHAKE',
    ])
    expect(accepted).toEqual([])
  })

  test('a session is not resumed', async () => {
    const { listener } = await listen()
    serve(listener, set)
    const sessions: Buffer[] = []
    const options = { host: '127.0.0.1', port: listener.address.port, ca: set.ca, servername: set.servername, ...s1 }
    const connect = (session?: Buffer) =>
      new Promise<boolean>((resolve) => {
        const socket = tls.connect({ ...options, ALPNProtocols: [ALPN.performance], ...(session ? { session } : {}) })
        socket.on('session', (ticket) => sessions.push(ticket))
        socket.once('data', () =>
          setTimeout(() => {
            resolve(socket.isSessionReused())
            socket.destroy()
          }, 50),
        )
      })
    await connect()
    for (const session of sessions.splice(0)) expect(await connect(session)).toBe(false)
  })
})

describe('authorization', () => {
  test('revoking refuses new connections and closes those there are', async () => {
    const { listener, refusals } = await listen()
    const revoked = new Set<string>()
    const authorize = () => (revoked.has('s1') ? { refused: 'secondary s1 was revoked' } : { id: 's1' })
    const registration = serve(listener, set, { authorize })
    const link = await dial(listener)
    revoked.add('s1')
    registration.disconnect('other', 'revoked')
    expect(registration.links()).toHaveLength(1)
    registration.disconnect('s1', 'revoked')
    expect(await link.closed).toEqual({})
    await expect(dial(listener)).rejects.toMatchObject({
      code: 'TRANSPORT_REVOKED',
      message: expect.stringContaining('secondary s1 was revoked'),
    })
    expect(refusals).toMatchObject([{ code: 'TRANSPORT_REVOKED', message: 'secondary s1 was revoked' }])
  })

  test('a revocation while the check is under way counts', async () => {
    const { listener } = await listen()
    let revoked = false
    let asked = 0
    let proceed: () => void = () => {}
    const registration = serve(listener, set, {
      async authorize() {
        const answer = revoked ? { refused: 'revoked' } : { id: 's1' }
        if (asked++ === 0) await new Promise<void>((resolve) => (proceed = resolve))
        return answer
      },
    })
    const dialing = dial(listener)
    dialing.catch(() => {})
    await expect.poll(() => asked).toBe(1)
    revoked = true
    registration.disconnect('s1', 'revoked')
    proceed()
    await expect(dialing).rejects.toMatchObject({ code: 'TRANSPORT_REVOKED' })
  })

  test('a check that fails refuses, without telling why', async () => {
    const { listener, refusals } = await listen()
    serve(listener, set, { authorize: () => Promise.reject(new Error('storage is sealed')) })
    const error = await dial(listener).catch((error) => error)
    expect(error).toMatchObject({ code: 'TRANSPORT_HANDSHAKE' })
    expect(error.message).not.toContain('sealed')
    expect(refusals).toMatchObject([{ message: 'storage is sealed' }])
  })

  test('a peer has a bounded number of links', async () => {
    const { listener } = await listen()
    serve(listener, set, { maxLinksPerPeer: 2 })
    const link = await dial(listener)
    await dial(listener)
    await expect(dial(listener)).rejects.toMatchObject({ code: 'TRANSPORT_BUSY' })
    link.close()
    await link.closed
    await expect
      .poll(() =>
        dial(listener).then(
          () => 'ok',
          () => 'busy',
        ),
      )
      .toBe('ok')
  })
})

describe('listening', () => {
  test('connections beyond the limit are dropped', async () => {
    const { listener, refusals } = await listen({ maxConnections: 1 })
    serve(listener, set)
    await dial(listener)
    await expect(dial(listener)).rejects.toMatchObject({ code: 'TRANSPORT_HANDSHAKE' })
    expect(refusals).toMatchObject([{ code: 'TRANSPORT_BUSY' }])
  })

  test('a handshake that does not come about is given up', async () => {
    const { listener, refusals } = await listen({ handshakeTimeoutMs: 100 })
    serve(listener, set, { authorize: () => new Promise(() => {}) })
    const socket = net.connect(listener.address.port, '127.0.0.1')
    socket.on('error', () => {})
    await new Promise((resolve) => socket.on('close', resolve))
    expect(refusals).toMatchObject([{ code: 'TRANSPORT_TIMEOUT' }])
    await expect(dial(listener)).rejects.toMatchObject({ code: 'TRANSPORT_HANDSHAKE' })
  })

  test('closing ends links in order, and everything else', async () => {
    const { listener } = await listen()
    serve(listener, set)
    const link = await dial(listener)
    const idle = net.connect(listener.address.port, '127.0.0.1')
    idle.on('error', () => {})
    await new Promise((resolve) => idle.once('connect', resolve))
    await Promise.all([listener.close(), listener.close()])
    expect(await link.closed).toEqual({})
    await expect(dial(listener)).rejects.toMatchObject({ code: 'TRANSPORT_REFUSED' })
    expect(() => serve(listener, set)).toThrow(expect.objectContaining({ code: 'TRANSPORT_CLOSED' }))
  })

  test('a port in use is reported', async () => {
    const { listener } = await listen()
    await expect(clusterListener(listener.address)).rejects.toMatchObject({ code: 'TRANSPORT_INVALID' })
  })
})

describe('dialing', () => {
  test('addresses are tried in order, and every failure is told', async () => {
    const { listener: wrong } = await listen()
    serve(wrong, other)
    const { listener } = await listen()
    serve(listener, set)
    const bad = [`https://127.0.0.1:1`, `127.0.0.1:${wrong.address.port}`]
    const link = await dial(listener, { addresses: [...bad, `https://127.0.0.1:${listener.address.port}/`] })
    expect(link.peer).toBe(set.servername)
    const error = await dial(listener, { addresses: bad }).catch((error) => error)
    expect(error.code).toBe('TRANSPORT_WRONG_PROTOCOL')
    expect(error.message).toMatch(/^127\.0\.0\.1:1: .*ECONNREFUSED.*; 127\.0\.0\.1:\d+: /)
  })

  const listenSilently = async () => {
    const sockets: net.Socket[] = []
    const silent = net.createServer((socket) => sockets.push(socket.on('error', () => {}).resume()))
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    closers.push(async () => {
      for (const socket of sockets) socket.destroy()
      silent.close()
    })
    return { address: `127.0.0.1:${(silent.address() as net.AddressInfo).port}`, sockets }
  }

  test('an address that hangs holds up the next one only as long as patience lasts', async () => {
    const { address: hangs, sockets } = await listenSilently()
    const { listener } = await listen()
    serve(listener, set)
    const accepted: string[] = []
    const answers = `127.0.0.1:${listener.address.port}`
    const link = await dial(listener, {
      addresses: [hangs, '127.0.0.1:1', answers],
      patience: { connectMs: 60_000, acceptMs: 20, againMs: 60_000 },
      onAccepted: (address) => accepted.push(address),
    })
    expect(link.peer).toBe(set.servername)
    expect(accepted).toEqual([answers])
    // What was left to hang is hung up on.
    await Promise.all(sockets.map((socket) => socket.destroyed || once(socket, 'close')))
    expect(sockets).toHaveLength(1)
  })

  test('of addresses dialled beside each other the first that accepts is taken, and every failure is told', async () => {
    const { address: hangs } = await listenSilently()
    const { listener } = await listen()
    serve(listener, set)
    const patience = { connectMs: 0, acceptMs: 0, againMs: 60_000 }
    const answers = `127.0.0.1:${listener.address.port}`
    expect((await dial(listener, { addresses: [hangs, hangs, answers], patience })).peer).toBe(set.servername)
    const error = await dial(listener, { addresses: [hangs, '127.0.0.1:1'], patience, timeoutMs: 80 }).catch((e) => e)
    expect(error).toMatchObject({ code: 'TRANSPORT_TIMEOUT' })
    expect(error.message).toMatch(/^127\.0\.0\.1:\d+: not accepted within 80 ms; 127\.0\.0\.1:1: .*ECONNREFUSED/)
    const reason = new Error('sealed')
    const controller = new AbortController()
    const dialing = dial(listener, { addresses: [hangs, hangs], patience, signal: controller.signal })
    setTimeout(() => controller.abort(reason), 30)
    await expect(dialing).rejects.toBe(reason)
  })

  test('an address that refused is tried again while another hangs', async () => {
    const { address: hangs } = await listenSilently()
    const { listener, refusals } = await listen()
    const dialing = dial(listener, {
      addresses: [`127.0.0.1:${listener.address.port}`, hangs],
      patience: { connectMs: 60_000, acceptMs: 60_000, againMs: 10 },
    })
    // A standby, which takes the lead after its second refusal.
    while (refusals.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    serve(listener, set)
    expect((await dialing).peer).toBe(set.servername)
  })

  test('a peer that accepts and says nothing times out; a signal gives up at once', async () => {
    const { address } = await listenSilently()
    const addresses = [address]
    const options = { addresses, servername: set.servername, alpn: ALPN.dr, ca: set.ca, ...s1 }
    await expect(dialCluster({ ...options, timeoutMs: 80 })).rejects.toMatchObject({ code: 'TRANSPORT_TIMEOUT' })
    const controller = new AbortController()
    const dialing = dialCluster({ ...options, signal: controller.signal })
    const reason = new Error('sealed')
    setTimeout(() => controller.abort(reason), 30)
    await expect(dialing).rejects.toBe(reason)
    await expect(dialCluster({ ...options, signal: controller.signal })).rejects.toBe(reason)
  })

  test('a peer without TLS, and one with TLS 1.2 only', async () => {
    const plain = net.createServer((socket) =>
      socket.on('error', () => {}).on('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
    )
    const old = tls.createServer({ ...set.server, maxVersion: 'TLSv1.2' })
    for (const [server, code] of [
      [plain, 'TRANSPORT_HANDSHAKE'],
      [old, 'TRANSPORT_WRONG_TLS_VERSION'],
    ] as const) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      closers.push(async () => server.close())
      const addresses = [`127.0.0.1:${(server.address() as net.AddressInfo).port}`]
      const error = await dialCluster({
        addresses,
        servername: set.servername,
        alpn: ALPN.dr,
        ca: set.ca,
        ...s1,
      }).catch((error) => error)
      expect(error).toMatchObject({ code })
    }
  })

  test('nonsense addresses are refused', async () => {
    const options = { servername: 'x', alpn: ALPN.dr, ca: set.ca, ...s1 }
    for (const addresses of [[], ['http://x:1'], ['a b'], ['x:99999'], ['x:1/path']]) {
      await expect(dialCluster({ ...options, addresses })).rejects.toMatchObject({ code: 'TRANSPORT_INVALID' })
    }
  })
})
