import net from 'node:net'
import type { Link } from '@lockstep/replication'
import { describe, expect, test } from 'vitest'
import { linkCompliance } from '../src/compliance/index.ts'
import { ALPN, clusterListener, dialCluster, encodeFrame, memoryLinkPair, streamLink } from '../src/index.ts'
import { replicationSet } from './certificates.ts'

describe('memory', () => {
  linkCompliance({ test, factory: async () => memoryLinkPair() })
})

describe('memory, delayed', () => {
  linkCompliance({ test, factory: async () => memoryLinkPair({ delayMs: () => Math.random() }) })
})

describe('TLS', async () => {
  const set = await replicationSet('c1')
  const client = await set.client('s1')
  linkCompliance({
    test,
    async factory() {
      const listener = await clusterListener({ host: '127.0.0.1', port: 0 })
      const accepted = new Promise<Link>((resolve) => {
        listener.register({
          alpn: ALPN.dr,
          servername: set.servername,
          ...set.server,
          ca: set.ca,
          authorize: () => ({ id: 's1' }),
          onLink: resolve,
        })
      })
      const wire = await proxy(listener.address.port)
      const dialed = await dialCluster({
        addresses: [`127.0.0.1:${wire.port}`],
        servername: set.servername,
        alpn: ALPN.dr,
        ca: set.ca,
        ...client,
      })
      return {
        ends: [dialed, await accepted],
        cut: wire.cut,
        async dispose() {
          await listener.close()
          await wire.close()
        },
      }
    },
  })
})

/** Somebody on the way who can end connections. */
async function proxy(target: number) {
  const sockets: net.Socket[] = []
  const server = net.createServer((inner) => {
    const outer = net.connect(target, '127.0.0.1')
    sockets.push(inner, outer)
    for (const socket of [inner, outer]) socket.on('error', () => {})
    inner.pipe(outer).pipe(inner)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as net.AddressInfo).port,
    cut: () => {
      for (const socket of sockets) socket.end()
    },
    close() {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}

describe('memory hooks', () => {
  test('messages can be dropped', async () => {
    const { ends } = memoryLinkPair({ drop: (message, from) => from === 0 && message.type === 'synced' })
    ends[0].send({ type: 'synced', round: 1 })
    ends[0].send({ type: 'diff-request', round: 2, reason: '' })
    ends[0].close()
    const seen = []
    for await (const message of ends[1].messages) seen.push(message.type)
    expect(seen).toEqual(['diff-request'])
  })
})

describe('a hostile or broken peer', () => {
  const raw = async (options = {}) => {
    const server = net.createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const accepted = new Promise<net.Socket>((resolve) => server.once('connection', resolve))
    const peer = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
    peer.on('error', () => {})
    const link = streamLink(await accepted, 'peer', options)
    server.close()
    return { peer, link }
  }
  const code = async (link: Link) => ((await link.closed).error as { code?: string } | undefined)?.code

  test.each([
    ['an empty frame', Buffer.from([0, 0, 0, 0])],
    ['an oversized frame', Buffer.from([0xff, 0xff, 0xff, 0xff, 1])],
    ['a frame just over the limit', Buffer.from([0, 0, 0x10, 1])],
    ['garbage', Buffer.from([0, 0, 0, 3, 0xc1, 0xff, 0xff])],
    ['text of another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a value that is no message', encodeFrame({ type: 'nonsense' })],
    ['a message with a wrong field', encodeFrame({ type: 'synced', round: 'one' })],
    ['an array longer than the frame', Buffer.from([0, 0, 0, 5, 0xdd, 0xff, 0xff, 0xff, 0xff])],
    ['an extension type', Buffer.from([0, 0, 0, 6, 0xd6, 0xff, 0, 0, 0, 0])],
  ])('%s closes the link', async (_, bytes) => {
    const { peer, link } = await raw({ maxFrameBytes: 4096 })
    peer.write(bytes)
    expect(await code(link)).toBe('TRANSPORT_BAD_FRAME')
    const seen = []
    for await (const message of link.messages) seen.push(message)
    expect(seen).toEqual([])
  })

  test('an end inside a frame, or without a goodbye, is a failure', async () => {
    const first = await raw()
    first.peer.end(Buffer.from([0, 0, 0, 9, 1]))
    expect(await code(first.link)).toBe('TRANSPORT_DISCONNECTED')
    const second = await raw()
    second.peer.end()
    expect(await code(second.link)).toBe('TRANSPORT_DISCONNECTED')
  })

  test('silence closes the link, slow drops do not', async () => {
    const { peer, link } = await raw({ idleTimeoutMs: 500 })
    const frame = encodeFrame({ type: 'synced', round: 1 })
    const started = Date.now()
    for (const byte of frame) {
      peer.write(Buffer.from([byte]))
      await new Promise((resolve) => setTimeout(resolve, 40))
    }
    expect(Date.now() - started).toBeGreaterThan(500)
    expect((await link.messages[Symbol.asyncIterator]().next()).value).toEqual({ type: 'synced', round: 1 })
    expect(await code(link)).toBe('TRANSPORT_STALLED')
  })

  test('a peer that stops reading is given up, by time and by bytes', async () => {
    const body = new Uint8Array(1024 * 1024)
    const flood = (link: Link) => {
      for (let id = 0; id < 32; id++) link.send({ type: 'request', id, method: '', body })
    }
    const byTime = await raw({ idleTimeoutMs: 1000 })
    byTime.peer.pause()
    const alive = setInterval(() => byTime.peer.write(encodeFrame({ type: 'synced', round: 1 })), 20)
    flood(byTime.link)
    expect(await code(byTime.link)).toBe('TRANSPORT_STALLED')
    clearInterval(alive)
    const byBytes = await raw({ sendLimitBytes: 16 * 1024 * 1024 })
    byBytes.peer.pause()
    flood(byBytes.link)
    expect(await code(byBytes.link)).toBe('TRANSPORT_STALLED')
    for (const { peer } of [byTime, byBytes]) peer.destroy()
  })

  test('a message over the frame limit is not sent', async () => {
    const { peer, link } = await raw({ maxFrameBytes: 4096 })
    link.send({ type: 'request', id: 1, method: '', body: new Uint8Array(5000) })
    expect(await code(link)).toBe('TRANSPORT_BAD_FRAME')
    peer.destroy()
  })

  test('closing does not wait for a peer that never answers', async () => {
    const { peer, link } = await raw()
    peer.pause()
    const started = Date.now()
    link.close()
    expect(await link.closed).toEqual({})
    // It gives up waiting after a second.
    expect(Date.now() - started).toBeLessThan(20_000)
    peer.destroy()
  })
})
