/** What a follower has heard of its primary since the process began to follow it, over all its links. */
import type { FollowStatus } from '@lockstep/replication-driver'

export interface Heard {
  /** Newest record of the primary's log that it told of. */
  index: number
  /** When it was heard last, ms since the epoch. */
  at: number
}

export interface HeardMemory {
  /** To be called with every status that may be the last of its link, and before `value` is asked for. */
  observe(status: FollowStatus): void
  /** Undefined when nothing was heard. */
  value(): Heard | undefined
}

export function heardMemory(clock: { now(): number }): HeardMemory {
  let heard: Heard | undefined
  let epoch = 0
  return {
    observe({ protocol, primaryHead, heartbeat, position, connectionState }) {
      // Nothing but a welcome tells the protocol.
      if (protocol === 0) return
      // Another primary took over behind the same address: its log has places of its own.
      if (position.epoch > epoch) {
        if (epoch > 0) heard = undefined
        epoch = position.epoch
      }
      const live = connectionState === 'ready' || connectionState === 'connecting'
      const at = heartbeat.lastHeartbeat || (heard?.at ?? (live ? clock.now() : 0))
      heard = { index: Math.max(heard?.index ?? 0, primaryHead), at: Math.max(heard?.at ?? 0, at) }
    },
    value: () => heard,
  }
}
