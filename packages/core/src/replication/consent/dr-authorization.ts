/**
 * Tokens of the primary that a DR secondary takes as `dr_operation_token`: batch tokens, whose policies must allow the change, and
 * root tokens. Both are checked against what was replicated; nothing is kept between two checks, so a revocation counts at once.
 */
import { randomBytes } from 'node:crypto'
import { prefixedStore, type Store } from '@lockstep/storage'
import { type Clock, CoreError, type Log } from '../../contracts.ts'
import { policyStore } from '../../policy/policy-store.ts'
import { withinBoundCidrs } from '../../requests/bound-cidrs.ts'
import { type TokenStoreComponents, tokenStore } from '../../token/token-store.ts'

export interface DrAuthorizationComponents extends Pick<TokenStoreComponents, 'sealBatch' | 'openBatch'> {
  /** The barrier. */
  storage: Store
  clock: Clock
  log: Log
  parseHcl(text: string): Promise<Record<string, unknown>>
}

/** Whom the request comes from, and what it asks for. */
export interface DrRequest {
  /** Full path, for instance `sys/replication/dr/secondary/promote`. */
  path: string
  data: Record<string, unknown>
  remoteAddress: string
}

/** What proved the right to a change: what kind of token, and its accessor ("" where it has none). */
export interface Consent {
  token: string
  accessor: string
}

/** Undefined when the token does not permit the request. */
export type AuthorizesDr = (token: string, request: DrRequest) => Promise<Consent | undefined>

export function drAuthorization(components: DrAuthorizationComponents): AuthorizesDr {
  const { storage, clock, log, parseHcl, sealBatch, openBatch } = components

  return async (token, { path, data, remoteAddress }) => {
    try {
      const tokens = tokenStore({ storage, leases: noLeases, clock, log, random: randomBytes, sealBatch, openBatch })
      const entry = await tokens.lookup(token)
      // A use cannot be counted here.
      if (entry === undefined || entry.numUses !== 0 || !withinBoundCidrs(entry, remoteAddress)) return undefined
      const { accessor, displayName } = entry
      if (entry.type === 'service') {
        return entry.policies.includes('root') ? { token: `root token ${displayName}`, accessor } : undefined
      }
      const policies = policyStore({ storage: prefixedStore(storage, 'sys/policy/'), parseHcl })
      const acl = await policies.acl(entry.policies)
      const { allowed } = acl.authorize({ operation: 'update', path, data, wrapTtl: 0 })
      return allowed ? { token: `batch token ${displayName}`, accessor } : undefined
    } catch (error) {
      log.warn('a token for a change of the DR role could not be checked', { error: String(error) })
      return undefined
    }
  }
}

const refuse = (): never => {
  throw new CoreError('CORE_INTERNAL', 'a DR secondary makes and revokes no tokens')
}

/** Leases are the primary's: a token that has one, and could have been renewed or revoked by it, is not accepted. */
const noLeases: TokenStoreComponents['leases'] = {
  tokenLease: () => undefined,
  registerToken: refuse,
  revokeByToken: refuse,
  dropToken: refuse,
}
