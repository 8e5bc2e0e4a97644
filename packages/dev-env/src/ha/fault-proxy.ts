/** A TCP proxy on loopback for trouble on one way of the network: it delays, loses and swallows, in each direction by itself. */
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** "forth" is from the one who dials. */
export type Direction = 'forth' | 'back'

/** Of one direction. */
export interface Trouble {
  /** Added to everything, ms. */
  delayMs?: number
  /**
   * Share of segments that get lost, 0 to 1. TCP sends a lost one again, so what it carries is late and never missing: each loss costs its segment and all
   * behind it the retransmission timeout (200 ms, doubled for each loss in a row, as on Linux).
   */
  loss?: number
  /** Nothing arrives, and nobody is told: connections stay open. What was sent arrives when this ends, as TCP sends it again. */
  blackhole?: boolean
}

export interface FaultProxy {
  /** `host:port` to dial. */
  readonly address: string
  /** Where connections go from now on (`host:port`); until then they are refused. */
  to(target: string): void
  /** From now on, for the connections there are and for new ones; in both directions when none is named. `{}` ends the trouble. */
  set(trouble: Trouble, direction?: Direction): void
  /** Ends all connections with a reset. */
  reset(): void
  close(): Promise<void>
}

const SEGMENT_BYTES = 1448
const RETRANSMIT_MS = 200
const LONGEST_RETRANSMIT_MS = 10_000
/** Under way in one direction of one connection; then its sender has to wait, as for TCP's window. */
const WINDOW_BYTES = 1024 * 1024

interface Route {
  readonly dialler: Socket
  readonly other: Socket
}

export async function faultProxy(target?: string): Promise<FaultProxy> {
  const trouble: Record<Direction, Trouble> = { forth: {}, back: {} }
  const routes = new Set<Route>()
  const waiting = new Set<() => void>()
  let goal = target

  const server = createServer((dialler) => {
    if (goal === undefined) return void dialler.resetAndDestroy()
    const other = connect({ ...hostAndPort(goal), noDelay: true })
    const route: Route = { dialler, other }
    routes.add(route)
    pump(route, 'forth')
    pump(route, 'back')
  })

  /** Until the direction carries anything, or the connection is over. */
  async function passable(route: Route, direction: Direction): Promise<void> {
    while (routes.has(route) && trouble[direction].blackhole) {
      await new Promise<void>((resolve) => void waiting.add(resolve))
    }
  }

  /** As late as TCP is with this many bytes; once the trouble has ended, not later than the retransmission that is due. */
  async function retransmissions(bytes: number, direction: Direction): Promise<void> {
    for (let segment = 0; segment < Math.ceil(bytes / SEGMENT_BYTES); segment++) {
      for (let timeout = RETRANSMIT_MS; Math.random() < (trouble[direction].loss ?? 0); timeout *= 2) {
        await delay(Math.min(timeout, LONGEST_RETRANSMIT_MS))
      }
    }
  }

  function wake(): void {
    for (const go of waiting) go()
    waiting.clear()
  }

  function end(route: Route, how: 'destroy' | 'resetAndDestroy' = 'destroy'): void {
    if (!routes.delete(route)) return
    route.dialler[how]()
    route.other[how]()
    wake()
  }

  function pump(route: Route, direction: Direction): void {
    const [from, to] = direction === 'forth' ? [route.dialler, route.other] : [route.other, route.dialler]
    from.setNoDelay(true)
    // What was sent keeps its order.
    let ahead: Promise<void> = Promise.resolve()
    let underWay = 0
    async function deliver(chunk: Buffer, arrival: Promise<void>, before: Promise<void>): Promise<void> {
      await arrival
      await before
      await retransmissions(chunk.length, direction)
      await passable(route, direction)
      if (to.destroyed || to.write(chunk)) return
      await new Promise<void>((resolve) => void to.once('drain', resolve).once('close', resolve))
    }
    from.on('data', (chunk: Buffer) => {
      underWay += chunk.length
      if (underWay > WINDOW_BYTES) from.pause()
      const { delayMs = 0 } = trouble[direction]
      const arrival = delayMs > 0 ? delay(delayMs) : Promise.resolve()
      ahead = deliver(chunk, arrival, ahead).finally(() => {
        underWay -= chunk.length
        if (underWay <= WINDOW_BYTES) from.resume()
      })
    })
    let failed = false
    from.on('error', () => {
      failed = true
    })
    // Its end is news too, which a blackhole keeps from the other side.
    from.once('close', () => {
      void ahead.then(() => passable(route, direction)).then(() => end(route, failed ? 'resetAndDestroy' : 'destroy'))
    })
  }

  await new Promise<void>((resolve, reject) => void server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('the proxy has no port')

  return {
    address: `127.0.0.1:${bound.port}`,
    to(next) {
      goal = next
    },
    set(next, direction) {
      if (direction !== 'back') trouble.forth = next
      if (direction !== 'forth') trouble.back = next
      wake()
    },
    reset() {
      for (const route of [...routes]) end(route, 'resetAndDestroy')
    },
    async close() {
      for (const route of [...routes]) end(route)
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function hostAndPort(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':')
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
}
