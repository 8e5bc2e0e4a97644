/** A token's record at `sys/token/id/<name>`, and the inside of a batch token: JSON with one-letter keys, defaults left out. */
import { jsonText } from '@lockstep/backend'
import { CoreError, type TokenEntry } from '../contracts.ts'

interface TokenRecord {
  /** Id; absent in batch tokens, which are their own record. */
  i?: string
  /** Parent's id. */
  o?: string
  p: string[]
  /** Path. */
  t: string
  m?: Record<string, string>
  d?: string
  /** Uses left. */
  u?: number
  /** Creation time, milliseconds. */
  c: number
  /** TTL, explicit max TTL, period: seconds. */
  l?: number
  x?: number
  e?: number
  r?: string
  y?: string
  b?: string[]
  /** 1 = not renewable. */
  n?: 1
}

export function encodeToken(entry: TokenEntry): Uint8Array {
  const record: TokenRecord = { p: entry.policies, t: entry.path, c: entry.creationTime }
  if (entry.type === 'service') record.i = entry.id
  if (entry.parent !== '') record.o = entry.parent
  if (entry.meta !== null) record.m = entry.meta
  if (entry.displayName !== '') record.d = entry.displayName
  if (entry.numUses !== 0) record.u = entry.numUses
  if (entry.ttl !== 0) record.l = entry.ttl
  if (entry.explicitMaxTtl !== 0) record.x = entry.explicitMaxTtl
  if (entry.period !== 0) record.e = entry.period
  if (entry.role !== '') record.r = entry.role
  if (entry.entityId !== '') record.y = entry.entityId
  if (entry.boundCidrs.length > 0) record.b = entry.boundCidrs
  if (!entry.renewable) record.n = 1
  return Buffer.from(JSON.stringify(record))
}

export type DecodedToken = Omit<TokenEntry, 'accessor' | 'cubbyholeId'>

/** @param batchId the batch token whose inside `bytes` are. */
export function decodeToken(bytes: Uint8Array, batchId?: string): DecodedToken {
  const record = JSON.parse(jsonText(bytes)) as TokenRecord
  const id = batchId ?? record.i
  if (id === undefined || !Array.isArray(record.p) || typeof record.c !== 'number') {
    throw new CoreError('CORE_INTERNAL', 'token record of an unknown format')
  }
  const parent = record.o ?? ''
  return {
    id,
    parent,
    policies: record.p,
    path: record.t,
    meta: record.m ?? null,
    displayName: record.d ?? '',
    numUses: record.u ?? 0,
    creationTime: record.c,
    ttl: record.l ?? 0,
    explicitMaxTtl: record.x ?? 0,
    period: record.e ?? 0,
    type: batchId === undefined ? 'service' : 'batch',
    role: record.r ?? '',
    entityId: record.y ?? '',
    boundCidrs: record.b ?? [],
    renewable: record.n !== 1,
    orphan: parent === '',
  }
}
