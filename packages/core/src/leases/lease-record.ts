/**
 * What is stored of a lease at `sys/expire/id/<lease id>`: JSON with one-letter keys, defaults left out. The lease of a token holds
 * no token and nothing that the token's own record says.
 */
import { type AuthGrant, jsonText } from '@lockstep/backend'
import { CoreError, type Lease, type TokenEntry } from '../contracts.ts'

interface LeaseRecord {
  /** Owning token; absent: this is a token's own lease. */
  c?: string
  /** Name under which the owner's index lists this lease. */
  o?: string
  /** Issue time. */
  i: number
  /** Expiry time; 0 or absent = never. */
  e?: number
  /** Last renewal. */
  r?: number
  /** 1 = not renewable. */
  n?: 1
  /** TTL and max TTL, seconds. */
  t?: number
  m?: number
  /** The backend's internal data. */
  d?: Record<string, unknown>
  /** Of a login: the grant where it differs from the token. */
  g?: Partial<AuthGrant>
  /** Why revocation was given up. */
  x?: string
}

/** A lease and what only the lease manager needs to know of it. */
export interface StoredLease {
  lease: Lease
  /** The grant's differences from the token, for leases of logins. */
  grant: Partial<AuthGrant> | undefined
  irrevocable: string | undefined
  /** Of a secret: the name of the token whose revocation revokes it; "" = none, or not a secret. */
  owner: string
}

export function encodeLease({ lease, grant, irrevocable, owner }: StoredLease): Uint8Array {
  const record: LeaseRecord = { i: lease.issueTime }
  if (lease.kind === 'secret') record.c = lease.clientToken
  if (owner !== '') record.o = owner
  if (lease.expireTime !== 0) record.e = lease.expireTime
  if (lease.lastRenewal !== 0) record.r = lease.lastRenewal
  if (!lease.renewable) record.n = 1
  if (lease.ttl !== 0) record.t = lease.ttl
  if (lease.maxTtl !== 0) record.m = lease.maxTtl
  if (hasKeys(lease.internalData)) record.d = lease.internalData
  if (grant !== undefined && hasKeys(grant)) record.g = grant
  if (irrevocable !== undefined) record.x = irrevocable
  return Buffer.from(JSON.stringify(record))
}

export function decodeLease(id: string, bytes: Uint8Array): StoredLease {
  const record = JSON.parse(jsonText(bytes)) as LeaseRecord
  if (typeof record.i !== 'number') throw new CoreError('CORE_INTERNAL', 'lease record of an unknown format')
  const lease: Lease = {
    id,
    path: id.slice(0, Math.max(0, id.lastIndexOf('/'))),
    kind: record.c === undefined ? 'auth' : 'secret',
    clientToken: record.c ?? '',
    issueTime: record.i,
    expireTime: record.e ?? 0,
    lastRenewal: record.r ?? 0,
    renewable: record.n !== 1,
    internalData: record.d ?? {},
    ttl: record.t ?? 0,
    maxTtl: record.m ?? 0,
  }
  return { lease, grant: record.g, irrevocable: record.x, owner: record.o ?? '' }
}

/** The grant as a token's entry tells it; `grantDifference` and `fullGrant` are each other's inverse against it. */
function grantOfEntry(entry: TokenEntry): AuthGrant {
  return {
    displayName: entry.displayName,
    policies: entry.policies,
    metadata: entry.meta ?? {},
    ttl: entry.ttl,
    maxTtl: 0,
    period: entry.period,
    explicitMaxTtl: entry.explicitMaxTtl,
    numUses: entry.numUses,
    renewable: entry.renewable,
    tokenType: entry.type,
    noDefaultPolicy: false,
    boundCidrs: entry.boundCidrs,
    internalData: {},
  }
}

/** Fields of the grant that the token or the lease itself does not already tell. */
export function grantDifference(entry: TokenEntry, grant: AuthGrant): Partial<AuthGrant> {
  const told = grantOfEntry(entry) as unknown as Record<string, unknown>
  const difference: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(grant)) {
    if (key === 'ttl' || key === 'maxTtl' || key === 'internalData' || key === 'numUses' || value === undefined)
      continue
    const same = typeof value === 'object' ? JSON.stringify(value) === JSON.stringify(told[key]) : value === told[key]
    if (!same) difference[key] = value
  }
  return difference
}

export function fullGrant(entry: TokenEntry, stored: StoredLease): AuthGrant {
  const { ttl, maxTtl, internalData } = stored.lease
  return { ...grantOfEntry(entry), ttl, maxTtl, internalData, ...stored.grant }
}

function hasKeys(object: object): boolean {
  for (const _ in object) return true
  return false
}
