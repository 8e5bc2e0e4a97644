/** Whether a snapshot may take a cluster's place without being forced: the same cluster, in the same roles as now. */
import { encryptedStore, type Keyring } from '@lockstep/barrier'
import { rowCopy } from '@lockstep/replication-driver'
import { prefixedStore, type Store } from '@lockstep/storage'
import { readClusterIdentity } from '../cluster-identity.ts'
import { CoreError } from '../contracts.ts'
import { type ReplicationKind, type RoleRecord, type RoleRecords, roleRecords } from '../replication/role-records.ts'
import { SnapshotError } from './snapshot-error.ts'

export const KINDS: readonly ReplicationKind[] = ['performance', 'dr']

export type RolesOf = Record<ReplicationKind, RoleRecord>

/** The texts of Vault for a snapshot whose sums do not open. */
export function otherKeys(sealType: string): CoreError {
  const keys = sealType === 'shamir' ? 'set of unseal keys' : 'autoseal key'
  return new CoreError(
    'CORE_INVALID_REQUEST',
    `could not verify hash file, possibly the snapshot is using a different ${keys}; use the snapshot-force API to bypass this check`,
  )
}

export async function rolesOf(records: Pick<RoleRecords, 'role'>): Promise<RolesOf> {
  return { performance: await records.role('performance'), dr: await records.role('dr') }
}

/** The roles in staged rows, when they are of this cluster. Rejects with `SnapshotError` for those of another one. */
export async function stagedRoles(target: Store, keyring: Keyring, clusterId: string): Promise<RolesOf> {
  const barrier = encryptedStore(prefixedStore(target, rowCopy.data), keyring)
  const identity = await readClusterIdentity(barrier)
  if (identity?.id !== clusterId)
    throw new SnapshotError('the state in the snapshot is of another cluster than meta.json says')
  return rolesOf(roleRecords(barrier))
}

/**
 * A cluster that led when the snapshot was taken and follows now would lead again beside the one promoted since; one whose set has
 * new certificates could not be reached by its own secondaries. Throws CORE_INVALID_REQUEST.
 */
export function assertSameRoles(staged: RolesOf, now: RolesOf): void {
  for (const kind of KINDS) {
    if (identityOf(staged[kind]) === identityOf(now[kind])) continue
    throw new CoreError(
      'CORE_INVALID_REQUEST',
      `the ${kind} replication role has changed since the snapshot was taken (${staged[kind].mode} then, ${now[kind].mode} now); use the snapshot-force API to bring the old role back`,
    )
  }
}

function identityOf(role: RoleRecord): string {
  switch (role.mode) {
    case 'disabled':
      return 'disabled'
    case 'primary':
      return JSON.stringify(['primary', role.clusterId, role.ca.certificatePem])
    case 'secondary':
      return JSON.stringify(['secondary', role.clusterId, role.secondaryId, role.credentials?.certificate])
  }
}
