/**
 * Live tokens in memory: by id for the hot path, by name for revocation and invalidation. There is at most one entry object per
 * token at a time, so that uses and renewals are seen by every holder of it.
 */
import type { Lease, TokenEntry } from '../contracts.ts'
import { recentCache } from './recent-cache.ts'

export interface LiveToken {
  entry: TokenEntry
  /** The token's own lease, changed in place by renewal; undefined for batch tokens and tokens that never expire. */
  lease: Lease | undefined
}

export interface LiveTokens {
  get(id: string): LiveToken | undefined
  byName(name: string): LiveToken | undefined
  add(live: LiveToken): void
  drop(name: string): void
  clear(): void
}

export function liveTokens(size: number): LiveTokens {
  const idByName = new Map<string, string>()
  const byId = recentCache<string, LiveToken>(size, (_, { entry }) => idByName.delete(entry.cubbyholeId))
  return {
    get: (id) => byId.get(id),
    byName(name) {
      const id = idByName.get(name)
      return id === undefined ? undefined : byId.get(id)
    },
    add(live) {
      byId.set(live.entry.id, live)
      if (live.entry.cubbyholeId !== '') idByName.set(live.entry.cubbyholeId, live.entry.id)
    },
    drop(name) {
      const id = idByName.get(name)
      if (id !== undefined) byId.delete(id)
      idByName.delete(name)
    },
    clear() {
      byId.clear()
      idByName.clear()
    },
  }
}

/** Neither expired nor used up. */
export function isAlive({ entry, lease }: LiveToken, now: number): boolean {
  if (entry.numUses < 0) return false
  if (entry.ttl === 0) return true
  const expireTime = entry.type === 'batch' ? entry.creationTime + entry.ttl * 1000 : lease?.expireTime
  return expireTime !== undefined && now < expireTime
}
