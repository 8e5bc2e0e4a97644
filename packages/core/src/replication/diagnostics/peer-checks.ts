/** The other end of a link: its clock and its storage. */
import type { ReplicationKind } from '../role-records.ts'
import { type Found, LIMITS, ok } from './diagnostics.ts'

/** One end as a link shows it. Times on this side's clock. */
export interface PeerFacts {
  /** The secondary's id at the primary, "primary" at the secondary. */
  name: string
  connected: boolean
  /** ms since the epoch; 0 before the first. */
  lastHeartbeat: number
  clockSkewMs: number
  canaryAgeMs: number
}

export function clockCheck(kind: ReplicationKind, peer: PeerFacts): Found {
  const about = { kind, subject: peer.name }
  const skew = Math.abs(peer.clockSkewMs)
  if (!peer.connected && peer.lastHeartbeat === 0) return ok('clock', 'not compared yet: there was no heartbeat', about)
  if (skew < LIMITS.clockWarning) return ok('clock', `${skew} ms apart`, about)
  return {
    ...about,
    check: 'clock',
    status: skew < LIMITS.clockCritical ? 'warning' : 'critical',
    cause: 'skew',
    detail: `the other clock is ${skew} ms ${peer.clockSkewMs > 0 ? 'ahead' : 'behind'}`,
    remedy: 'Set both clocks by NTP: tokens, certificates and leases go by them.',
  }
}

export function peerStorageCheck(kind: ReplicationKind, peer: PeerFacts): Found {
  const about = { kind, subject: peer.name }
  const age = peer.canaryAgeMs
  if (!peer.connected && peer.lastHeartbeat === 0) return ok('storage', 'nothing was heard of it yet', about)
  // A peer that has told of none yet shows as 0 too.
  if (age === 0) return ok('storage', 'a probing write just now, or none told of yet', about)
  if (age < LIMITS.canaryWarning) return ok('storage', `took a probing write ${age} ms ago`, about)
  return {
    ...about,
    check: 'storage',
    status: age < LIMITS.canaryCritical ? 'warning' : 'critical',
    cause: 'stalled',
    detail: `the storage at the other end took its last probing write ${age} ms ago`,
    remedy: 'Run the diagnostics there: its storage hangs or refuses writes.',
  }
}
