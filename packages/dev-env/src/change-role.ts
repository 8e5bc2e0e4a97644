/** Changes of role over the HTTP API, each until it is carried out: the answer comes before the change does. */
import type { ClusterAccess } from './cluster.ts'
import { drOperationToken } from './dr-operation-token.ts'
import { activationToken, type ReplicationKind, replicationStatus } from './replicate.ts'
import { waitFor } from './wait-for.ts'

const ROLE_TIMEOUT_MS = 60_000

async function untilMode(cluster: ClusterAccess, kind: ReplicationKind, mode: string): Promise<void> {
  await waitFor(
    `${cluster.name} to be a ${kind} ${mode}`,
    async () => {
      const status = await replicationStatus(cluster, kind)
      return status?.mode === mode
    },
    { timeoutMs: ROLE_TIMEOUT_MS },
  )
}

export async function enablePrimary(
  cluster: ClusterAccess,
  kind: ReplicationKind,
  fields: { primary_cluster_addr?: string } = {},
): Promise<void> {
  await cluster.client.write(`sys/replication/${kind}/primary/enable`, fields)
  await untilMode(cluster, kind, 'primary')
}

export async function demotePrimary(cluster: ClusterAccess, kind: ReplicationKind): Promise<void> {
  await cluster.client.write(`sys/replication/${kind}/primary/demote`)
  await untilMode(cluster, kind, 'secondary')
}

/** Fields of a call that a DR secondary takes with an operation token, which is made here from the cluster's keys. */
export async function withConsent(cluster: ClusterAccess, fields: Record<string, unknown> = {}) {
  return { ...fields, dr_operation_token: await drOperationToken(cluster) }
}

/** A change of a secondary's role, with the consent that a DR secondary asks for. */
async function changeSecondary(
  cluster: ClusterAccess,
  kind: ReplicationKind,
  change: 'promote' | 'update-primary',
  fields: Record<string, unknown>,
) {
  const path = `sys/replication/${kind}/secondary/${change}`
  if (kind === 'performance') return cluster.client.write(path, fields)
  return cluster.client.write(path, await withConsent(cluster, fields), { token: '' })
}

/** Resolves with the answer of the promotion once the cluster is active in its new role. */
export async function promoteSecondary(
  cluster: ClusterAccess,
  kind: ReplicationKind,
  fields: { force?: boolean; primary_cluster_addr?: string } = {},
) {
  const reply = await changeSecondary(cluster, kind, 'promote', fields)
  await untilMode(cluster, kind, 'primary')
  await waitFor(
    `${cluster.name} to be active`,
    async () => (await cluster.client.call('GET', 'sys/health')).status === 200,
  )
  return reply
}

/** Points a secondary of any kind, or a demoted primary, at `primary` with a new activation token for `id`. */
export async function updatePrimary(
  primary: ClusterAccess,
  secondary: ClusterAccess,
  kind: ReplicationKind,
  id: string,
): Promise<void> {
  await changeSecondary(secondary, kind, 'update-primary', { token: await activationToken(primary, kind, id) })
}

/** Points a secondary that kept its credentials at other addresses. */
export async function repoint(secondary: ClusterAccess, kind: ReplicationKind, addresses: string[]): Promise<void> {
  await changeSecondary(secondary, kind, 'update-primary', { update_primary_addrs: addresses })
}
