/** What earlier lives of this cluster have left for its roles to go on with. */
import { decodePosition } from '@lockstep/replication'
import type { ClusterStore } from '../seal-life-cycle/cluster-store.ts'
import type { FencedRecord } from './promotion/fencing.ts'
import { demotedAt, type ReplicationKind, type RoleRecord, type RoleRecords, roleKeys } from './role-records.ts'
import type { SecondaryRoleInit } from './secondary-role.ts'
import type { Unreplicated } from './unreplicated/unreplicated.ts'

export interface RoleLeft extends SecondaryRoleInit {
  fenced?: FencedRecord | undefined
}

export interface RoleLeftComponents {
  records: RoleRecords
  unreplicated: Pick<Unreplicated, 'list'>
  store: Pick<ClusterStore, 'logged' | 'modes'>
  stored: Readonly<Record<ReplicationKind, RoleRecord>>
}

/** The name under which the log of a demoted primary is kept until it follows another. */
const consumer = (kind: ReplicationKind): string => `demoted/${kind}`

export async function loadLeft(components: RoleLeftComponents): Promise<Record<ReplicationKind, RoleLeft>> {
  const { records, unreplicated, store, stored } = components

  async function load(kind: ReplicationKind): Promise<RoleLeft> {
    const record = stored[kind]
    const { log } = store.logged
    const demoted = isDemoted(record)
    // Only its log can tell which of its writes the cluster promoted in its place never got.
    if (demoted) log.retain(consumer(kind), log.oldest() - 1)
    else log.release(consumer(kind))
    if (record.mode === 'primary') return { fenced: await records.fenced(kind) }
    if (record.mode !== 'secondary') return {}
    const position = await store.logged.get(roleKeys.cursor(kind))
    return {
      addresses: await records.heardAddresses(kind),
      handover: await records.handover(kind),
      preserve: (await unreplicated.list(kind)).find(({ open }) => open),
      synced: !(await records.bootstrapping(kind)) || (position !== undefined && decodePosition(position).view !== ''),
      handedTo: demoted ? await records.demotion(kind) : [],
    }
  }

  store.modes.keepLog = isDemoted(stored.performance)
  const [performance, dr] = await Promise.all([load('performance'), load('dr')])
  return { performance, dr }
}

function isDemoted(record: RoleRecord): boolean {
  return record.mode === 'secondary' && demotedAt(record) !== undefined
}
