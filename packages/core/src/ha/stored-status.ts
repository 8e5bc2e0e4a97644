/**
 * The replication status as a standby can tell it when the active node cannot be asked: what is stored of the roles. How far the links
 * are, only the active node knows.
 */
import type { Reader } from '@lockstep/storage'
import { type ReplicationKind, type RoleRecord, type RoleRecords, roleRecords } from '../replication/role-records.ts'

const PATH = /^sys\/replication\/(?:(performance|dr)\/)?status$/

/** The `data` of a status path; undefined for any other path. */
export async function storedStatus(
  barrier: Pick<Reader, 'get' | 'list'>,
  path: string,
): Promise<Record<string, unknown> | undefined> {
  const match = PATH.exec(path)
  if (match === null) return undefined
  const records = roleRecords(barrier as Parameters<typeof roleRecords>[0])
  const kind = match[1] as ReplicationKind | undefined
  if (kind !== undefined) return statusOf(records, kind)
  return { performance: await statusOf(records, 'performance'), dr: await statusOf(records, 'dr') }
}

async function statusOf(records: RoleRecords, kind: ReplicationKind): Promise<Record<string, unknown>> {
  // A DR secondary plays no performance role.
  if (kind === 'performance' && (await records.role('dr')).mode === 'secondary') return { mode: 'disabled' }
  const record: RoleRecord = await records.role(kind)
  if (record.mode === 'disabled') return { mode: 'disabled' }
  const { mode, clusterId: cluster_id } = record
  if (mode === 'primary') {
    const known = await records.secondaries(kind)
    return {
      ...{ mode, cluster_id, primary_cluster_addr: record.primaryClusterAddr },
      known_secondaries: known.map(({ id }) => id),
    }
  }
  const shown = (await records.bootstrapping(kind)) ? 'bootstrapping' : mode
  return {
    ...{ mode: shown, cluster_id, secondary_id: record.secondaryId },
    primary_cluster_addr: record.primaryClusterAddrs[0] ?? '',
    known_primary_cluster_addrs: record.primaryClusterAddrs,
  }
}
