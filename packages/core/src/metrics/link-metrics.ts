/** What links between clusters are measured by. */
import type { Repair } from '@lockstep/replication'
import type { FollowStatus } from '@lockstep/replication-driver'
import { BOOTSTRAP } from '../replication/activation/bootstrap-reply.ts'
import { FORWARD } from '../replication/forwarding/forwarded-request.ts'
import type { ReplicationKind } from '../replication/role-records.ts'
import type { MetricNameOf } from './catalog.ts'
import type { Meter } from './meter.ts'

const SERVED: Readonly<Record<string, MetricNameOf<'summary'>>> = {
  [BOOTSTRAP]: 'replication.rpc.server.bootstrap_request',
  [FORWARD]: 'replication.rpc.server.forwarding_request',
}

/** Times the answer to a secondary's request. */
export function timedAnswer<T>(meter: Meter | undefined, method: string, work: () => Promise<T>): Promise<T> {
  const name = Object.hasOwn(SERVED, method) ? SERVED[method] : undefined
  return meter === undefined || name === undefined ? work() : meter.time(name, work)
}

/** Times a request that the primary carries out for this secondary. */
export function timedForward<T>(meter: Meter | undefined, work: () => Promise<T>): Promise<T> {
  return meter === undefined ? work() : meter.time('replication.rpc.client.forward', work)
}

/** What a repair can have been found by. */
const REPAIRS: readonly Exclude<Repair['reason'], 'asked'>[] = ['guard', 'content', 'gap', 'repeated', 'history']

export type OnTraffic = (direction: 'sent' | 'received', bytes: number) => void

export function countTraffic(meter: Meter | undefined, kind: ReplicationKind): OnTraffic {
  const labels = { sent: { kind, direction: 'sent' }, received: { kind, direction: 'received' } }
  return (direction, bytes) => meter?.count('replication.link.bytes', bytes, labels[direction])
}

/** Times how long a secondary stays in each part of a comparison, and counts repairs; to be told of every change of its state. */
export function timeComparisons(
  meter: Meter | undefined,
  kind: ReplicationKind,
  now: () => number = () => performance.now(),
): (status: Pick<FollowStatus, 'state' | 'lastRepair'>) => void {
  let state = ''
  let since = 0
  let repairedAt = 0
  // From the start, or a rate would miss the first one.
  for (const reason of REPAIRS) meter?.count('replication.repairs', 0, { kind, reason })
  return ({ state: next, lastRepair }) => {
    // What an operator asked for is no repair.
    if (lastRepair !== null && lastRepair.repairedAt > repairedAt && lastRepair.reason !== 'asked') {
      repairedAt = lastRepair.repairedAt
      meter?.count('replication.repairs', 1, { kind, reason: lastRepair.reason })
      meter?.count('replication.repaired_keys', lastRepair.keys, { kind })
    }
    if (next === state) return
    const ms = now() - since
    if (state === 'merkle-diff') meter?.observe('replication.merkleDiff', ms, { kind })
    if (state === 'merkle-sync') meter?.observe('replication.merkleSync', ms, { kind })
    state = next
    since = now()
  }
}
