/** Who leads, as a standby sees it: the lock's advertisement, authenticated, and looked at again about once a second. */
import type { LeaderLock } from '@lockstep/storage'
import type { Clock, Log } from '../contracts.ts'
import type { Unsealed } from '../seal-life-cycle/services.ts'
import { type Advertisement, isAuthentic, parseAdvertisement } from './advertisement.ts'
import { type NodeTrust, readNodeTrust } from './node-trust.ts'

export interface Leader extends Advertisement {
  trust: NodeTrust
}

export interface LeaderWatch {
  /**
   * Undefined when nobody leads, who leads has not said so yet, or this node itself does. As the lock was asked at `since` (ms since
   * the epoch, default half a second ago) or later. Rejects when the lock cannot be asked.
   */
  current(options?: { since?: number }): Promise<Leader | undefined>
}

export interface LeaderWatchComponents {
  lock: Pick<LeaderLock, 'holder'>
  /** Undefined while sealed. */
  unsealed(): Unsealed | undefined
  /** Whether the term is one of this node's own: an advertisement of it is out of date once somebody asks. */
  isOwn(term: string): boolean
  clock: Clock
  log: Log
}

const MAX_AGE_MS = 500

export function leaderWatch({ lock, unsealed, isOwn, clock, log }: LeaderWatchComponents): LeaderWatch {
  let seen: { leader: Leader | undefined; at: number } | undefined
  let looking: { begun: number; result: Promise<Leader | undefined> } | undefined
  let trust: NodeTrust | undefined
  let doubted = ''

  async function look(): Promise<Leader | undefined> {
    const text = await lock.holder()
    const parsed = text === undefined ? undefined : parseAdvertisement(text)
    const keys = unsealed()
    if (parsed === undefined || keys === undefined || isOwn(parsed.claimed.term)) return undefined
    if (trust?.fingerprint !== parsed.claimed.ca) trust = await readNodeTrust(keys.barrier)
    if (trust?.fingerprint === parsed.claimed.ca && isAuthentic(parsed, trust.advertisementKey)) {
      doubted = ''
      return { ...parsed.claimed, trust }
    }
    if (doubted !== text) log.warn('what is published with the leader lock was not made by a node of this cluster')
    doubted = text!
    return undefined
  }

  function begin(): { begun: number; result: Promise<Leader | undefined> } {
    const begun = clock.now()
    const result = look()
      .then((leader) => {
        seen = { leader, at: begun }
        return leader
      })
      .finally(() => {
        looking = undefined
      })
    looking = { begun, result }
    return looking
  }

  return {
    async current({ since = clock.now() - MAX_AGE_MS } = {}) {
      if (seen !== undefined && seen.at >= since) return seen.leader
      // One look at a time: the lock may be asked slowly.
      if (looking !== undefined && looking.begun < since) await looking.result.catch(() => {})
      return (looking ?? begin()).result
    },
  }
}
