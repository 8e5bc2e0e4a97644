/**
 * What is wrong with this cluster's replication, and what to do about it. Facts in, findings out; the probing of addresses is done
 * before. Every check is always reported, so that "ok" is an answer too and a tool can derive its exit status from the worst one.
 */

import type { ReplicationKind } from '../role-records.ts'
import type { ProbeResult } from './link-probe.ts'

export type CheckName =
  | 'role'
  | 'address'
  | 'certificate'
  | 'protocol'
  | 'clock'
  | 'log'
  | 'filter'
  | 'storage'
  | 'lag'
  | 'repair'
  | 'epoch'
  | 'nodes'
export type CheckStatus = 'ok' | 'warning' | 'critical'

export interface Check {
  check: CheckName
  /** Of which role; "" for what concerns the cluster. */
  kind: ReplicationKind | ''
  /** The address, secondary or node it is about; "" for this cluster. */
  subject: string
  status: CheckStatus
  /** One word for tools; "" when the status is ok. */
  cause: string
  detail: string
  remedy: string
}

export interface Diagnosis {
  /** The worst of the checks. */
  status: CheckStatus
  /** 0 ok, 1 warning, 2 critical: what a command line tool exits with. */
  exit_status: 0 | 1 | 2
  /** RFC 3339. */
  time: string
  checks: Check[]
}

/** Thresholds, ms unless said otherwise. */
export const LIMITS = {
  clockWarning: 5_000,
  clockCritical: 60_000,
  lagWarning: 10_000,
  lagCritical: 60_000,
  canaryWarning: 15_000,
  canaryCritical: 60_000,
  /** Vault's advice for its flush of the log. */
  slowWrite: 500,
  verySlowWrite: 5_000,
  heartbeatSilence: 15_000,
  /** Share of the log's cap that a consumer may hold back. */
  logWarning: 0.75,
  logCritical: 0.95,
  certificateWarning: 30 * 24 * 3_600_000,
} as const

export type Found = Omit<Check, 'kind' | 'subject'> & { kind?: ReplicationKind; subject?: string }

export function diagnosis(found: readonly Found[], now: number): Diagnosis {
  const checks = found.map((check): Check => ({ kind: '', subject: '', ...check }))
  const worst = checks.some(({ status }) => status === 'critical')
    ? 'critical'
    : checks.some(({ status }) => status === 'warning')
      ? 'warning'
      : 'ok'
  const exit = { ok: 0, warning: 1, critical: 2 } as const
  return { status: worst, exit_status: exit[worst], time: new Date(now).toISOString(), checks }
}

export const ok = (check: CheckName, detail: string, about: Pick<Found, 'kind' | 'subject'> = {}): Found => ({
  ...about,
  ...{ check, status: 'ok', cause: '', detail, remedy: '' },
})

// ---------------------------------------------------------------- links

const PROBE_CHECKS: Record<string, CheckName> = {
  address: 'address',
  dns: 'address',
  tcp: 'address',
  tls: 'protocol',
  certificate: 'certificate',
  alpn: 'protocol',
  admission: 'certificate',
}

const PROBE_REMEDIES: Record<string, string> = {
  malformed_address: 'Give the primary addresses as host:port by update-primary.',
  name_not_found:
    "Check the name, or this host's resolver; update-primary with update_primary_addrs gives other addresses.",
  refused:
    'Check that the primary runs, that its cluster listener (port 8201) is bound to this address, and that nothing else has the address.',
  unreachable: 'Check routes and firewalls between the two clusters for the cluster port (8201).',
  timeout:
    'Check firewalls between the two clusters for the cluster port (8201): packets are dropped, or the process there hangs.',
  reset: 'Check for a proxy or balancer that terminates or forbids TLS on the cluster port: it must pass TLS through.',
  not_tls: 'The address leads to something else than a cluster port: check the port and any balancer.',
  tls_version:
    'Something between the clusters terminates TLS: replication needs TLS 1.3 passed through to the primary.',
  handshake: 'Check for a proxy or balancer on the cluster port: it must pass TLS through.',
  foreign_authority:
    'The listener belongs to another replication set, or a proxy terminates TLS. Check the address; if the primary was replaced, activate anew by update-primary with a token.',
  expired:
    'Check the clocks of both clusters; then a new activation token of the primary, by update-primary, brings new certificates.',
  not_yet_valid: 'Check the clocks of both clusters.',
  wrong_name: 'The listener belongs to another replication set: check the address.',
  alpn: 'The address is not (or no longer) a primary of this kind: find the one that is, and name it by update-primary.',
  not_served:
    'The address is not (or no longer) a primary of this kind: find the one that is, and name it by update-primary.',
  revoked:
    'The primary has revoked this secondary, or its token expired unused: update-primary with a new activation token.',
  not_authenticated: 'The primary does not know this certificate: update-primary with a new activation token.',
  own_certificate_expired: 'Check the clocks; then update-primary with a new activation token.',
  busy: 'The primary has too many connections of this secondary: look for a second process with the same credentials.',
}

/** A node of the primary's cluster that answers and does not lead. */
const STANDBY_CAUSES: readonly ProbeResult['cause'][] = ['not_served', 'alpn']

/** `connected`: some address leads to a working link, so that another that does not is no emergency. */
export function probeChecks(kind: ReplicationKind, results: readonly ProbeResult[], connected: boolean): Found[] {
  const several = results.length > 1
  const found = results.flatMap((result): Found[] => {
    const about = { kind, subject: result.address }
    if (result.failed === '') return [ok('address', `reached: ${result.passed.join(', ')}`, about)]
    const standsBy = several && STANDBY_CAUSES.includes(result.cause)
    if (connected && standsBy) return [ok('address', 'it answers and does not lead: a standby, or sealed', about)]
    const before = result.passed.length === 0 ? '' : ` (after ${result.passed.join(', ')})`
    const failure: Found = {
      ...about,
      check: PROBE_CHECKS[result.failed] ?? 'address',
      status: connected || standsBy ? 'warning' : 'critical',
      cause: result.cause,
      detail: `step ${result.failed}${before}: ${result.detail}`,
      remedy: PROBE_REMEDIES[result.cause] ?? '',
    }
    return failure.check === 'address' ? [failure] : [ok('address', 'TCP connects', about), failure]
  })
  if (several && !connected && results.every(isNoActiveNode)) found.push(noActiveNode(kind, results))
  for (const check of ['certificate', 'protocol'] as const) {
    if (results.length > 0 && !found.some((item) => item.check === check))
      found.push(ok(check, 'as expected', { kind }))
  }
  return found
}

function isNoActiveNode({ failed, cause }: ProbeResult): boolean {
  return failed !== '' && (PROBE_CHECKS[failed] === 'address' || STANDBY_CAUSES.includes(cause))
}

function noActiveNode(kind: ReplicationKind, results: readonly ProbeResult[]): Found {
  const standing = results.filter(({ cause }) => STANDBY_CAUSES.includes(cause)).length
  const away = results.length - standing
  return {
    ...{ kind, check: 'address', status: 'critical', cause: 'no_active_node' },
    detail: `no active node among ${results.length} addresses: ${standing} answer and do not lead, ${away} cannot be reached`,
    remedy:
      "Look at the primary's nodes: sys/leader and sys/seal-status of each, and their storage. As soon as one of these leads it is found; another is named by update-primary with update_primary_addrs.",
  }
}

/** This end's own certificates; `period` in ms since the epoch. */
export function certificateCheck(
  kind: ReplicationKind,
  name: string,
  period: { from: number; to: number },
  now: number,
): Found {
  const about = { kind, subject: name }
  const until = new Date(period.to).toISOString()
  const remedy =
    'Check the clock of this cluster; then activate anew: new certificates come with a new activation token.'
  if (now > period.to) {
    const detail = `it was valid until ${until}`
    return { ...about, check: 'certificate', status: 'critical', cause: 'expired', detail, remedy }
  }
  if (now < period.from) {
    const detail = `it is valid from ${new Date(period.from).toISOString()}`
    return { ...about, check: 'certificate', status: 'critical', cause: 'not_yet_valid', detail, remedy }
  }
  if (period.to - now < LIMITS.certificateWarning) {
    const detail = `it is valid until ${until}`
    return { ...about, check: 'certificate', status: 'warning', cause: 'expires_soon', detail, remedy }
  }
  return ok('certificate', `valid until ${until}`, about)
}

// ---------------------------------------------------------------- both ends

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

// ---------------------------------------------------------------- this cluster

export interface StorageFacts {
  writtenAt: number
  writeMs: number
  waitingSince: number
  error: string
}

export function storageCheck(facts: StorageFacts | undefined, now: number): Found {
  if (facts === undefined) return ok('storage', 'not probed: no replication role is on')
  const bad = (status: CheckStatus, cause: string, detail: string): Found => ({
    ...{ check: 'storage', status, cause, detail },
    remedy: 'Check the storage: free space, latency of fsync, its own log; on a network storage the way to it.',
  })
  if (facts.error !== '') return bad('critical', 'refused', `the storage refused a probing write: ${facts.error}`)
  const waiting = facts.waitingSince === 0 ? 0 : now - facts.waitingSince
  const age = Math.max(waiting, facts.writtenAt === 0 ? 0 : now - facts.writtenAt)
  if (age >= LIMITS.canaryWarning) {
    const text =
      waiting > 0 ? `a probing write has been waiting for ${waiting} ms` : `the last probing write was ${age} ms ago`
    return bad(age < LIMITS.canaryCritical ? 'warning' : 'critical', 'stalled', text)
  }
  if (facts.writeMs >= LIMITS.slowWrite) {
    const status = facts.writeMs < LIMITS.verySlowWrite ? 'warning' : 'critical'
    return bad(status, 'slow', `the last probing write took ${facts.writeMs} ms`)
  }
  return ok('storage', `the last probing write took ${facts.writeMs} ms`)
}

export interface LogFacts {
  bytes: number
  caps: { bytes: number; ageMs: number }
  head: number
  oldest: number
  /** Those for which the log is kept, slowest first. */
  consumers: readonly { consumer: string; index: number; ageMs: number }[]
}

export function logCheck({ bytes, caps, head, oldest, consumers }: LogFacts): Found {
  const shown = `${bytes} of ${caps.bytes} bytes kept, indexes ${oldest} to ${head}`
  const remedy =
    'Find out why the slowest secondary does not catch up, revoke it if it is gone, or enlarge logshipper_buffer_size. Past the cap it resumes by Merkle diff: nothing is lost.'
  const bad = (status: CheckStatus, cause: string, detail: string): Found => ({
    ...{ check: 'log', status, cause, detail: `${shown}; ${detail}`, remedy },
  })
  const lost = consumers.filter(({ index }) => index < oldest - 1)
  if (lost.length > 0) {
    return bad('warning', 'cap_passed', `no longer back to ${lost.map(({ consumer }) => consumer).join(', ')}`)
  }
  const [slowest] = consumers
  const share = bytes / caps.bytes
  if (share >= LIMITS.logWarning) {
    const held =
      slowest === undefined ? 'nobody is known to need it' : `held back by ${slowest.consumer} at ${slowest.index}`
    return bad(share < LIMITS.logCritical ? 'warning' : 'critical', 'cap_near', held)
  }
  const aged = slowest === undefined ? 0 : slowest.ageMs / caps.ageMs
  if (aged >= LIMITS.logWarning) {
    const detail = `${slowest!.consumer} has missed everything for ${slowest!.ageMs} of ${caps.ageMs} ms`
    return bad(aged < LIMITS.logCritical ? 'warning' : 'critical', 'age_near', detail)
  }
  return ok('log', shown)
}

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

export interface RepairFacts {
  /** Proofs in a row that did not match. */
  guardFailures: number
  /** Batches that came damaged or out of order. */
  streamFaults: number
  /** Comparisons on this link, and why the last one was. */
  rounds: number
  reason: string
  /** The last repair, in words; "" for none. */
  lastRepair: string
}

export function repairCheck(kind: ReplicationKind, facts: RepairFacts): Found {
  const { guardFailures, streamFaults, rounds, reason, lastRepair } = facts
  const about = { kind, subject: 'primary' }
  const counts = `${rounds} comparisons on this link, ${streamFaults} faults of the stream, ${guardFailures} failed proofs in a row`
  const compared = reason === '' ? '' : `; the last comparison: ${reason}`
  const last = compared + (lastRepair === '' ? '' : `; the last repair: ${lastRepair}`)
  if (guardFailures > 1) {
    const remedy =
      'A repair did not help: reindex this cluster, then the primary (sys/replication/reindex), and check the storages.'
    return { ...about, check: 'repair', status: 'critical', cause: 'repeated_repair', detail: counts + last, remedy }
  }
  if (guardFailures > 0 || streamFaults > 0) {
    const remedy =
      'It was or is being repaired by itself. Once is no harm; when it repeats, check the storages of both ends and reindex.'
    return { ...about, check: 'repair', status: 'warning', cause: 'repaired', detail: counts + last, remedy }
  }
  return ok('repair', counts + last, about)
}

export function epochCheck(
  kind: ReplicationKind,
  facts: { fencedByEpoch?: number; fencedBy?: string; lastError: string },
): Found {
  const bad = (detail: string, remedy: string): Found => ({
    ...{ kind, check: 'epoch', status: 'critical', cause: 'fenced', detail, remedy },
  })
  if (facts.fencedByEpoch !== undefined) {
    return bad(
      `the secondary ${facts.fencedBy ?? ''} has followed epoch ${facts.fencedByEpoch}: another cluster was promoted`,
      'This primary is stale: demote it, then point it at the promoted cluster by update-primary with a token.',
    )
  }
  if (FENCED.test(facts.lastError)) {
    return bad(
      facts.lastError,
      'The primary dialled is stale: demote it, and name the promoted cluster by update-primary.',
    )
  }
  return ok('epoch', 'no later epoch is known', { kind })
}

// Either end may have refused; the primary's refusals come with their code.
const VERSION = /\(version\)|^protocol \d+ was chosen/
const FENCED = /\(fenced\)|^the primary is in epoch \d+, but epoch/

/** A refusal because the two ends have no protocol version in common shows nowhere but in the last error. */
export function versionCheck(kind: ReplicationKind, lastError: string): Found | undefined {
  if (!VERSION.test(lastError)) return undefined
  const remedy = 'Upgrade the end that is named; upgrade secondaries before their primary.'
  return { kind, check: 'protocol', status: 'critical', cause: 'version', detail: lastError, remedy }
}

export interface FilterFacts {
  name: string
  withheld: number
  /** Undefined when the secondary was not heard. */
  inForce: boolean | undefined
}

export function filterCheck(facts: FilterFacts): Found {
  const about = { kind: 'performance' as const, subject: facts.name }
  const withheld = facts.withheld === 0 ? 'nothing is withheld' : `${facts.withheld} mounts are withheld`
  if (facts.inForce === false) {
    return {
      ...about,
      check: 'filter',
      status: 'warning',
      cause: 'view_mismatch',
      detail: `${withheld}; the secondary has not been brought in line with the filter yet`,
      remedy: `Wait for its comparison to end, then read sys/replication/performance/primary/inspect/${facts.name}.`,
    }
  }
  return ok('filter', facts.inForce === undefined ? `${withheld}; the secondary was not heard` : withheld, about)
}

export interface NodeFacts {
  name: string
  state: string
  /** ms since the epoch. */
  seenAt: number
}

export function nodesCheck(nodes: readonly NodeFacts[] | undefined): Found[] {
  if (nodes === undefined) return [ok('nodes', 'this cluster is one node')]
  const sealed = nodes.filter(({ state }) => state === 'sealed')
  if (sealed.length === 0) return [ok('nodes', `${nodes.length} nodes seen, none of them sealed`)]
  return sealed.map(({ name }) => ({
    ...{ check: 'nodes', status: 'warning', cause: 'sealed', subject: name },
    detail: 'this node is sealed: it cannot take over',
    remedy: "Unseal it; after this cluster became a secondary with the primary's unseal keys.",
  }))
}
