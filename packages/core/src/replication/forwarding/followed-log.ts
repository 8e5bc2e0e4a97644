/** How far a performance secondary is in its primary's log, whether it has a link or not. */
import { decodePosition } from '@lockstep/replication'
import type { LoggedStore } from '@lockstep/replication-driver'
import type { Followed } from '../../consistency/consistency.ts'
import { roleKeys, type SecondaryRecord } from '../role-records.ts'
import type { SecondaryRole } from '../secondary-role.ts'

export async function followedLog(
  store: LoggedStore,
  record: SecondaryRecord,
  role: () => SecondaryRole | undefined,
): Promise<Followed> {
  const stored = await store.get(roleKeys.cursor('performance'))
  const cursor = stored === undefined ? null : decodePosition(stored).cursor
  // A demoted primary follows nobody yet: the log that was the set's is its own.
  if (record.credentials === null) return { place: () => store.log.head(), applied: async () => false }
  return {
    place() {
      const position = role()?.position()
      // Before the first link, and without any to be, it stays where it was.
      return (position === undefined || position.clusterId === '' ? cursor : position.cursor) ?? undefined
    },
    applied: async (index, timeoutMs) => role()?.applied(index, timeoutMs) ?? false,
  }
}
