import type { AuthBlock, TokenEntry } from '../contracts.ts'

/** @param leaseDuration seconds. */
export function authBlock(entry: TokenEntry, leaseDuration: number, renewable = entry.renewable): AuthBlock {
  return {
    client_token: entry.id,
    accessor: entry.accessor,
    policies: entry.policies,
    token_policies: entry.policies,
    metadata: entry.meta,
    lease_duration: leaseDuration,
    renewable,
    entity_id: entry.entityId,
    token_type: entry.type,
    orphan: entry.orphan,
    mfa_requirement: null,
    num_uses: entry.numUses,
  }
}
