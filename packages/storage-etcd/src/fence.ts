import { type Leadership, StorageError } from '@lockstep/storage'
import type { Compare } from './messages.ts'

/** What every write of a leader compares inside its Txn. */
export interface Fence {
  /** The lock's key, which has a new create revision for each leader. */
  readonly key: Buffer
  readonly compare: readonly Compare[]
  /** Known to be over; saves the trip. etcd decides. */
  isLost(): boolean
  /** etcd has said that the leadership is over. */
  refused(): void
}

const fences = new WeakMap<Leadership, Fence>()

export function registerFence(leadership: Leadership, fence: Fence): void {
  fences.set(leadership, fence)
}

export function fenceOf(leadership: Leadership): Fence {
  const fence = fences.get(leadership)
  if (fence === undefined) throw new TypeError('expected a leadership of etcdLeaderLock')
  return fence
}

export function notLeader(): StorageError {
  return new StorageError('STORAGE_NOT_LEADER', 'another node leads, or this one gave the lead up; nothing was written')
}
