import { CLASSES_OF_KIND, type PartitionId, parsePartitionId } from '@lockstep/replication'
import type { ReplicationKind } from './role-records.ts'

/** Whether the partition is of a class that the kind of replication carries. */
export function inKind(kind: ReplicationKind, id: PartitionId): boolean {
  const partition = parsePartitionId(id)
  return partition !== undefined && CLASSES_OF_KIND[kind].includes(partition.class)
}
