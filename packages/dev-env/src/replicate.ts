/** The steps of the replication tutorials, over the HTTP API. */
import type { ClusterAccess } from './cluster.ts'
import { waitFor } from './wait-for.ts'

export type ReplicationKind = 'performance' | 'dr'

// biome-ignore lint/suspicious/noExplicitAny: the status document is checked field by field where it matters
type Status = any

export async function replicationStatus(
  cluster: Pick<ClusterAccess, 'client'>,
  kind: ReplicationKind,
): Promise<Status> {
  const reply = await cluster.client.call('GET', `sys/replication/${kind}/status`)
  return reply.body?.data
}

/** A new activation token of the primary for the secondary `id`. */
export async function activationToken(primary: ClusterAccess, kind: ReplicationKind, id: string): Promise<string> {
  const issued = await primary.client.write(`sys/replication/${kind}/primary/secondary-token`, { id })
  return issued.body.wrap_info.token
}

/**
 * Activates `secondary`; `primary` must be a primary of the kind already. The secondary's unseal keys become the primary's. Resolves when it
 * has the role; its first sync may still be under way.
 */
export async function linkSecondary(
  primary: ClusterAccess,
  secondary: ClusterAccess,
  kind: ReplicationKind,
  id: string,
  fields: { primary_api_addr?: string } = {},
): Promise<void> {
  const token = await activationToken(primary, kind, id)
  await secondary.client.write(`sys/replication/${kind}/secondary/enable`, { ...fields, token })
  secondary.keys = primary.keys
  await waitFor(`${secondary.name} to become a ${kind} secondary`, async () => {
    const status = await replicationStatus(secondary, kind)
    return status?.mode === 'secondary' || status?.mode === 'bootstrapping'
  })
}

/** Until the secondary streams and both ends have the same Merkle root. */
export function waitUntilInSync(
  primary: ClusterAccess,
  secondary: ClusterAccess,
  kind: ReplicationKind,
  options: { timeoutMs?: number; sameRoot?: boolean } = {},
): Promise<Status> {
  return waitFor(
    `${secondary.name} to be in sync with ${primary.name}`,
    async () => {
      const [here, there] = await Promise.all([replicationStatus(primary, kind), replicationStatus(secondary, kind)])
      if (there?.state !== 'stream-wals' || there.connection_state !== 'ready') return false
      const want = options.sameRoot === false ? undefined : here.merkle_root
      return want === undefined || want === there.merkle_root ? there : false
    },
    { timeoutMs: options.timeoutMs ?? 60_000 },
  )
}
