/** The way to the primary: addresses, protocol and certificates as the probes found them, and this end's own certificates. */
import type { ReplicationKind } from '../role-records.ts'
import { type CheckName, type Found, LIMITS, ok } from './diagnostics.ts'
import type { ProbeResult } from './link-probe.ts'

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
  const reached = (check: CheckName): boolean =>
    results.some(({ passed }) => passed.some((step) => PROBE_CHECKS[step] === check))
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
      found.push(ok(check, reached(check) ? 'as expected' : 'not looked at: no address got that far', { kind }))
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
