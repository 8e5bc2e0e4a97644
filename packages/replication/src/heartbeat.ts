import type { Ping, Pong, WireCursor } from './messages.ts'

/** What the heartbeats of one link have shown. Times are ms since the epoch on this side's clock. */
export interface HeartbeatStatus {
  /** When the last ping or pong of the peer came in; 0 before the first. */
  lastHeartbeat: number
  /** Round trip of the last answered ping; 0 before the first. */
  roundTripMs: number
  /** Peer's clock minus ours, less half the round trip. */
  clockSkewMs: number
  /** The peer's canary, on the peer's clock; 0 for never. */
  canary: number
  /** Age of the peer's canary on our clock; 0 when there is none. */
  canaryAgeMs: number
  addresses: readonly string[]
  apiAddress: string
}

/** What this side tells of itself in every ping. */
export interface SelfReport {
  cursor: WireCursor | null
  /** When this side's storage last took a probing write, ms since the epoch; 0 for never. */
  canary: number
  addresses: readonly string[]
  apiAddress: string
}

export interface Heartbeat {
  /** The ping to send now, if one is due. */
  due(now: number, report: () => SelfReport): Ping | undefined
  onPing(ping: Ping, now: number): Pong
  onPong(pong: Pong, now: number): void
  /** Nothing at all was heard from the peer for too long. */
  silent(now: number): boolean
  /** Anything was heard. */
  heard(now: number): void
  status(now: number): HeartbeatStatus
}

export function heartbeat(options: { intervalMs: number; silenceMs: number }): Heartbeat {
  let nextPing = 0
  let lastHeard = 0
  let lastHeartbeat = 0
  let roundTripMs = 0
  let clockSkewMs = 0
  let peer: Ping | undefined

  return {
    due(now, report) {
      // Further off than an interval: the clock was set back.
      if (now < nextPing && nextPing - now <= options.intervalMs) return undefined
      nextPing = now + options.intervalMs
      const self = report()
      return { type: 'ping', time: now, ...self, addresses: [...self.addresses] }
    },
    onPing(ping, now) {
      lastHeartbeat = now
      peer = ping
      return { type: 'pong', echo: ping.time, time: now }
    },
    onPong(pong, now) {
      // The echo is the peer's word: never let it make a time negative.
      roundTripMs = Math.max(0, now - pong.echo)
      clockSkewMs = pong.time + roundTripMs / 2 - now
      lastHeartbeat = now
    },
    silent(now) {
      // A clock that was set back must not make a dead link last as long as it takes to get there again.
      if (lastHeard === 0 || lastHeard > now) lastHeard = now
      return now - lastHeard > options.silenceMs
    },
    heard(now) {
      lastHeard = now
    },
    status(now) {
      const canary = peer?.canary ?? 0
      return {
        lastHeartbeat,
        roundTripMs,
        clockSkewMs,
        canary,
        canaryAgeMs: canary === 0 ? 0 : Math.max(0, now + clockSkewMs - canary),
        addresses: peer?.addresses ?? [],
        apiAddress: peer?.apiAddress ?? '',
      }
    },
  }
}
