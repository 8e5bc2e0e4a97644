import type { Lease, TokenEntry } from '../../contracts.ts'

/** `data` of auth/token/lookup*. Never holds the parent. */
export function tokenData(entry: TokenEntry, lease: Lease | undefined, now: number): Record<string, unknown> {
  const issueTime = lease?.issueTime ?? entry.creationTime
  const batchEnd = entry.type === 'batch' ? entry.creationTime + entry.ttl * 1000 : 0
  const expireTime = lease?.expireTime ?? batchEnd
  return {
    accessor: entry.accessor,
    ...(entry.boundCidrs.length > 0 && { bound_cidrs: entry.boundCidrs }),
    creation_time: Math.floor(entry.creationTime / 1000),
    creation_ttl: entry.ttl,
    display_name: entry.displayName,
    entity_id: entry.entityId,
    expire_time: expireTime === 0 ? null : time(expireTime),
    explicit_max_ttl: entry.explicitMaxTtl,
    id: entry.id,
    issue_time: time(issueTime),
    ...(lease !== undefined &&
      lease.lastRenewal !== 0 && {
        last_renewal: time(lease.lastRenewal),
        last_renewal_time: Math.floor(lease.lastRenewal / 1000),
      }),
    meta: entry.meta,
    num_uses: entry.numUses,
    orphan: entry.orphan,
    path: entry.path,
    ...(entry.period !== 0 && { period: entry.period }),
    policies: entry.policies,
    renewable: lease?.renewable ?? false,
    ...(entry.role !== '' && { role: entry.role }),
    ttl: expireTime === 0 ? 0 : Math.max(0, Math.round((expireTime - now) / 1000)),
    type: entry.type,
  }
}

function time(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}
