/** How far a secondary is behind, seen from either end. */
import type { ReplicationKind } from '../role-records.ts'
import { type CheckStatus, type Found, LIMITS, ok } from './diagnostics.ts'

export interface SecondaryFacts {
  name: string
  connected: boolean
  /** Entries of the log it has not acknowledged. */
  behind: number
  lastHeartbeat: number
  streaming: boolean
}

/** At the primary. */
export function secondaryLagCheck(kind: ReplicationKind, facts: SecondaryFacts, now: number): Found {
  const about = { kind, subject: facts.name }
  if (!facts.connected) {
    const since =
      facts.lastHeartbeat === 0 ? 'never since this node leads' : `last heard ${now - facts.lastHeartbeat} ms ago`
    const remedy = 'Run the diagnostics on that secondary: it dials. Revoke it if it is gone for good.'
    const detail = `not connected, ${since}`
    return { ...about, check: 'lag', status: 'critical', cause: 'disconnected', detail, remedy }
  }
  const silence = facts.lastHeartbeat === 0 ? 0 : now - facts.lastHeartbeat
  if (silence > LIMITS.heartbeatSilence) {
    const remedy = 'Check the network, and the load of the process at the other end.'
    const detail = `no heartbeat for ${silence} ms`
    return { ...about, check: 'lag', status: 'critical', cause: 'stale_heartbeat', detail, remedy }
  }
  if (!facts.streaming) {
    const detail = `in a Merkle comparison, ${facts.behind} entries behind`
    return { ...about, check: 'lag', status: 'warning', cause: 'syncing', detail, remedy: SYNCING }
  }
  return ok('lag', `${facts.behind} entries behind`, about)
}

const SYNCING = 'Wait for it to end; when it comes again and again see the check repair.'

export interface UpstreamFacts {
  state: string
  connectionState: string
  lagMs: number
  lastError: string
  detached: boolean
}

/** At the secondary. */
export function upstreamLagCheck(kind: ReplicationKind, facts: UpstreamFacts): Found {
  const bad = (status: CheckStatus, cause: string, detail: string, remedy: string): Found => ({
    ...{ kind, subject: 'primary', check: 'lag', status, cause, detail, remedy },
  })
  const { state, connectionState, lagMs, lastError } = facts
  if (facts.detached) {
    return bad(
      'warning',
      'detached',
      'this secondary dials no primary',
      'Give it one by update-primary with a token, or promote it.',
    )
  }
  if (connectionState !== 'ready') {
    const why = lastError === '' ? '' : `: ${lastError}`
    const remedy = 'See the checks address, certificate, protocol and epoch.'
    return bad('critical', 'disconnected', `${connectionState}, lag ${lagMs} ms${why}`, remedy)
  }
  if (state !== 'stream-wals') return bad('warning', 'syncing', `${state}, lag ${lagMs} ms`, SYNCING)
  if (lagMs < LIMITS.lagWarning) return ok('lag', `${lagMs} ms behind`, { kind, subject: 'primary' })
  const remedy = 'Check load, storage latency and bandwidth at this end.'
  return bad(lagMs < LIMITS.lagCritical ? 'warning' : 'critical', 'behind', `${lagMs} ms behind`, remedy)
}
