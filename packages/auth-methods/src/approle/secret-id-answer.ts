import type { SecretId } from './secret-id-store.ts'

/** A secret id's properties as clients see them. */
export function shownSecretId(entry: SecretId): Record<string, unknown> {
  return {
    cidr_list: entry.cidrList,
    creation_time: timestamp(entry.created),
    expiration_time: entry.expires === 0 ? '0001-01-01T00:00:00Z' : timestamp(entry.expires),
    last_updated_time: timestamp(entry.updated),
    metadata: entry.metadata,
    secret_id_accessor: entry.accessor,
    secret_id_num_uses: entry.numUses,
    secret_id_ttl: entry.ttl,
    token_bound_cidrs: entry.tokenBoundCidrs,
  }
}

function timestamp(ms: number): string {
  return new Date(ms).toISOString()
}
