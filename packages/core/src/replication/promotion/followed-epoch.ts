/**
 * The highest epoch that a performance secondary has followed, where its position does not go: to its DR secondary, which when promoted
 * in its place must refuse the primaries that it would have refused.
 */
import { decodePosition, encodePosition } from '@lockstep/replication'
import type { LoggedStore } from '@lockstep/replication-driver'
import { type RoleRecords, roleKeys, type SecondaryRecord } from '../role-records.ts'

/** Brings record and position to the higher epoch of the two. Before the performance role is played. */
export async function carryFollowedEpoch(
  records: Pick<RoleRecords, 'followedEpoch' | 'saveFollowedEpoch'>,
  logged: Pick<LoggedStore, 'get' | 'put'>,
  { clusterId }: SecondaryRecord,
): Promise<void> {
  const key = roleKeys.cursor('performance')
  const stored = await logged.get(key)
  const followed = stored === undefined ? 0 : decodePosition(stored).epoch
  const carried = await records.followedEpoch()
  if (followed > carried) await records.saveFollowedEpoch(followed)
  if (carried <= followed) return
  // A position of an earlier life, or none: everything is compared with the primary anyway.
  await logged.put(key, encodePosition({ clusterId, epoch: carried, view: '', cursor: null }))
}
