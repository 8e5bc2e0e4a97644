/** What had to be repaired on the link to the primary. */
import type { ReplicationKind } from '../role-records.ts'
import { type Found, ok } from './diagnostics.ts'

export interface RepairFacts {
  /** Proofs in a row that did not match. */
  guardFailures: number
  /** Batches that came damaged or out of order. */
  streamFaults: number
  /** Comparisons on this link, and why the last one was. */
  rounds: number
  reason: string
  /** The last repair, in words; "" for none. */
  lastRepair: string
}

export function repairCheck(kind: ReplicationKind, facts: RepairFacts): Found {
  const { guardFailures, streamFaults, rounds, reason, lastRepair } = facts
  const about = { kind, subject: 'primary' }
  const counts = `${rounds} comparisons on this link, ${streamFaults} faults of the stream, ${guardFailures} failed proofs in a row`
  const compared = reason === '' ? '' : `; the last comparison: ${reason}`
  const last = compared + (lastRepair === '' ? '' : `; the last repair: ${lastRepair}`)
  if (guardFailures > 1) {
    const remedy =
      'A repair did not help: reindex this cluster, then the primary (sys/replication/reindex), and check the storages.'
    return { ...about, check: 'repair', status: 'critical', cause: 'repeated_repair', detail: counts + last, remedy }
  }
  if (guardFailures > 0 || streamFaults > 0) {
    const remedy =
      'It was or is being repaired by itself. Once is no harm; when it repeats, check the storages of both ends and reindex.'
    return { ...about, check: 'repair', status: 'warning', cause: 'repaired', detail: counts + last, remedy }
  }
  return ok('repair', counts + last, about)
}
