/** What this end of a link found to be wrong, and what the Merkle diffs that followed made of it. */
import type { PartitionId } from '../types.ts'
import type { StreamFault } from './stream-check.ts'

/** A comparison that this end asked for. */
export interface Repair {
  /**
   * The records in doubt: those after `from`, up to `to`. For a guard, `from` is where both ends were last proved equal, 0 when they
   * never were; for `asked` it is 0.
   */
  from: number
  to: number
  /** `guard`: the composed roots differed. `asked`: somebody wanted it. For the others see `StreamFault`. */
  reason: StreamFault['reason'] | 'guard' | 'asked'
  /**
   * Where something was fetched or deleted, most keys first, at most 100 of them. Keys that the primary changed while the diff ran can be
   * among those counted.
   */
  partitions: readonly { partition: PartitionId; keys: number }[]
  /** Keys fetched or deleted in all partitions. */
  keys: number
  /** When the fault was found, ms since the epoch. */
  at: number
  /** When both ends were brought in line, ms since the epoch; 0 while that is under way. */
  repairedAt: number
}

export interface RepairLog {
  readonly last: Repair | null
  /** Notes what is to be repaired. While another repair is under way the two become one. */
  begin(what: Pick<Repair, 'from' | 'to' | 'reason'>, now: number): void
  /** Something was fetched or deleted during a diff. */
  differed(partition: PartitionId, keys: number): void
  /** A diff has ended, or the log goes on from what is durable here: a repair that was under way is done. */
  synced(now: number): void
}

const SHOWN_PARTITIONS = 100

export function repairLog(before: Repair | null = null): RepairLog {
  let last = before
  // One that the end of the link before cut short goes on.
  let pending: Omit<Repair, 'partitions' | 'keys' | 'repairedAt'> | undefined =
    before?.repairedAt === 0 ? { from: before.from, to: before.to, reason: before.reason, at: before.at } : undefined
  const counts = new Map<PartitionId, number>(
    pending && before?.partitions.map(({ partition, keys }) => [partition, keys]),
  )

  const show = (repairedAt: number): void => {
    if (!pending) return
    const partitions = [...counts]
      .map(([partition, keys]) => ({ partition, keys }))
      .sort((a, b) => b.keys - a.keys || (a.partition < b.partition ? -1 : 1))
    const keys = partitions.reduce((sum, each) => sum + each.keys, 0)
    last = { ...pending, partitions: partitions.slice(0, SHOWN_PARTITIONS), keys, repairedAt }
  }

  return {
    get last() {
      return last
    },
    begin({ from, to, reason }, now) {
      if (pending) {
        pending.from = Math.min(pending.from, from)
        pending.to = Math.max(pending.to, to)
      } else {
        counts.clear()
        pending = { from, to, reason, at: now }
      }
      show(0)
    },
    differed(partition, keys) {
      if (pending) counts.set(partition, (counts.get(partition) ?? 0) + keys)
    },
    synced(now) {
      show(now)
      pending = undefined
    },
  }
}
