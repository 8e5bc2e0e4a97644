import { type Leadership, StorageError } from '@lockstep/storage'
import type { Names } from './names.ts'

/** What a write checks before it changes anything. */
export interface Fence {
  readonly names: Names
  readonly name: string
  readonly token: bigint
  /** Known to be over; saves the trip. The database decides. */
  lost: boolean
}

const fences = new WeakMap<Leadership, Fence>()

export function registerFence(leadership: Leadership, names: Names, name: string): void {
  const fence: Fence = { names, name, token: leadership.fencingToken, lost: false }
  fences.set(leadership, fence)
  void leadership.lost.then(() => {
    fence.lost = true
  })
}

export function fenceOf(leadership: Leadership): Fence {
  const fence = fences.get(leadership)
  if (fence === undefined) throw new TypeError('expected a leadership of postgresLeaderLock')
  return fence
}

export function notLeader(): StorageError {
  return new StorageError('STORAGE_NOT_LEADER', 'another node leads, or this one gave the lead up; nothing was written')
}
