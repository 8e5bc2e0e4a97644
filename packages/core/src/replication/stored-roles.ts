/** The roles this cluster is to play, as they are stored, with what a primary has of its secondaries. */
import type { ClusterStore } from '../seal-life-cycle/cluster-store.ts'
import { carryFollowedEpoch } from './promotion/followed-epoch.ts'
import type { FilterRecord, KnownSecondary, ReplicationKind, RoleRecord, RoleRecords } from './role-records.ts'

export interface StoredRoles {
  inForce: Record<ReplicationKind, RoleRecord>
  /** Empty for a kind of which the cluster is no primary. */
  members: Record<ReplicationKind, KnownSecondary[]>
  /** Of the performance primary, by id of the secondary. */
  filters: Map<string, FilterRecord>
}

/** Sets the modes of the store, too: from then on it refuses what the roles forbid to write. */
export async function loadRoles(
  records: RoleRecords,
  store: Pick<ClusterStore, 'logged' | 'modes'>,
): Promise<StoredRoles> {
  const inForce: Record<ReplicationKind, RoleRecord> = {
    performance: await records.role('performance'),
    dr: await records.role('dr'),
  }
  // A DR secondary holds its primary's performance role without playing it.
  if (inForce.dr.mode === 'secondary') inForce.performance = { mode: 'disabled' }
  store.modes.performance = inForce.performance.mode
  store.modes.dr = inForce.dr.mode
  const filters = new Map<string, FilterRecord>()

  async function loadMembers(kind: ReplicationKind): Promise<KnownSecondary[]> {
    if (inForce[kind].mode !== 'primary') return []
    const members = await records.secondaries(kind)
    if (kind === 'performance') {
      for (const [id, filter] of await records.filters()) filters.set(id, filter)
    }
    return members
  }

  const [performance, dr] = await Promise.all([loadMembers('performance'), loadMembers('dr')])
  if (inForce.performance.mode === 'secondary') await carryFollowedEpoch(records, store.logged, inForce.performance)
  return { inForce, members: { performance, dr }, filters }
}
