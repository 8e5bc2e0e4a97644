/**
 * A TCP proxy before a cluster port, for trouble on the network: it passes TLS through and tells the links apart by the ALPN name in
 * their first message, which TLS 1.3 leaves readable.
 */
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { ReplicationKind } from './replicate.ts'

export interface ClusterProxy {
  /** As of `cluster_addr` and `primary_cluster_addr`. */
  readonly address: string
  /** Where connections go from now on; until then they are refused. */
  to(clusterAddress: string): void
  /** Links of the kind stay open and carry nothing, in either direction, until `resume`. New ones neither. */
  pause(kind: ReplicationKind): void
  resume(kind: ReplicationKind): void
  /** Bytes per second from the primary, for links of the kind; Infinity lifts it. */
  throttle(kind: ReplicationKind, bytesPerSecond: number): void
  /** Ends all links of the kind. */
  cut(kind: ReplicationKind): void
  close(): Promise<void>
}

interface Route {
  kind: ReplicationKind | undefined
  downstream: Socket
  upstream: Socket
}

const ALPN: Record<string, ReplicationKind> = { replication_v1: 'performance', replication_dr_v1: 'dr' }

export async function clusterProxy(): Promise<ClusterProxy> {
  let target: URL | undefined
  const routes = new Set<Route>()
  const paused = new Set<ReplicationKind>()
  const rates = new Map<ReplicationKind, number>()
  const changed = new EventTarget()

  const server = createServer((downstream) => {
    if (target === undefined) {
      downstream.destroy()
      return
    }
    const upstream = connect(Number(target.port), target.hostname)
    const route: Route = { kind: undefined, downstream, upstream }
    routes.add(route)
    for (const socket of [downstream, upstream]) socket.on('error', () => end(route)).on('close', () => end(route))
    void pump(route, downstream, upstream)
    void pump(route, upstream, downstream)
  })

  function end(route: Route): void {
    routes.delete(route)
    route.downstream.destroy()
    route.upstream.destroy()
    changed.dispatchEvent(new Event('changed'))
  }

  async function pump(route: Route, from: Socket, to: Socket): Promise<void> {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        if (from === route.downstream) route.kind ??= alpnOf(chunk)
        while (route.kind !== undefined && paused.has(route.kind) && routes.has(route)) {
          await new Promise((resolve) => changed.addEventListener('changed', resolve, { once: true }))
        }
        if (!routes.has(route)) return
        const rate = route.kind !== undefined && to === route.downstream ? rates.get(route.kind) : undefined
        if (rate !== undefined) await delay((1000 * chunk.length) / rate)
        if (!to.write(chunk)) await new Promise((resolve) => to.once('drain', resolve).once('close', resolve))
      }
    } catch {
      // The other end went away; `end` sees to both.
    }
    end(route)
  }

  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port')

  return {
    address: `https://127.0.0.1:${address.port}`,
    to(clusterAddress) {
      target = new URL(clusterAddress)
    },
    pause: (kind) => void paused.add(kind),
    resume(kind) {
      paused.delete(kind)
      changed.dispatchEvent(new Event('changed'))
    },
    throttle(kind, bytesPerSecond) {
      if (Number.isFinite(bytesPerSecond)) rates.set(kind, bytesPerSecond)
      else rates.delete(kind)
    },
    cut(kind) {
      for (const route of [...routes]) if (route.kind === kind) end(route)
    },
    async close() {
      for (const route of [...routes]) end(route)
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** From a ClientHello: ALPN names travel as one length byte and the name. */
function alpnOf(hello: Buffer): ReplicationKind | undefined {
  for (const [name, kind] of Object.entries(ALPN)) {
    if (hello.includes(Buffer.concat([Buffer.from([name.length]), Buffer.from(name)]))) return kind
  }
  return undefined
}
