/** How the links of a secondary began: with the log alone, or with a comparison. */
import type { FollowStatus } from '@lockstep/replication-driver'

export interface SessionCount {
  /** To be told of every change of the follower's state. */
  observe(status: Pick<FollowStatus, 'connectionState' | 'state' | 'rounds'>): void
  /** Links that streamed on from where the one before had ended, without a comparison. */
  resumed(): number
  /** Merkle comparisons begun. */
  compared(): number
}

export function sessionCount(): SessionCount {
  let resumed = 0
  let compared = 0
  let linked = false
  /** Of the link there is. */
  let rounds = 0
  let counted = false
  return {
    observe(status) {
      const ready = status.connectionState === 'ready'
      if (ready && !linked) {
        rounds = 0
        counted = false
      }
      // The last state of a link is told when it is over.
      if (linked || ready) {
        compared += Math.max(0, status.rounds - rounds)
        rounds = status.rounds
      }
      linked = ready
      if (!ready || counted || rounds > 0 || status.state !== 'stream-wals') return
      counted = true
      resumed++
    },
    resumed: () => resumed,
    compared: () => compared,
  }
}
