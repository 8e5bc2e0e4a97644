/**
 * The cluster's storage as this node may use it. Without a leader lock it always writes. With one it only reads, until it holds the
 * lock: then it opens everything anew, fenced by its leadership, because what it had read before is out of date.
 */
import type { LeaderLock, Leadership, Store } from '@lockstep/storage'
import type { Log } from '../contracts.ts'
import { type ClusterStorage, openClusterStorage } from './cluster-storage.ts'
import type { ClusterStore, ClusterStoreOptions } from './cluster-store.ts'

export interface LedStorageComponents {
  /** The whole physical store. */
  physical: Store
  lock?: LeaderLock
  /** The same store, refusing writes once the leadership has ended; closed with it. Default: `physical`, unfenced. */
  fenced?(leadership: Leadership): Promise<Store>
  log: Log
}

export interface LedStorage {
  /** At any time an open one, unless opening has failed. */
  readonly store: ClusterStore
  /** Number of the generation that is open. */
  readonly generation: number
  readonly mayWrite: boolean
  /** False when another node has replaced the generation that is open to read, or opening has failed. True once it was closed for good. */
  isCurrent(): Promise<boolean>
  /** See `ClusterStorage`. */
  replace: ClusterStorage['replace']
  /** See `ClusterStorage`. Of no use any more once the storage was opened anew. */
  stage: ClusterStorage['stage']
  pill: ClusterStorage['pill']
  /** Opens what is current now; with a leader lock, to read. */
  reopen(): Promise<void>
  /** To write from now on; when it rejects, the leadership is released. */
  lead(held: Leadership): Promise<void>
  /** Whether it is by this leadership that the node may write. */
  leadsBy(held: Leadership): boolean
  /** To read only, and releases the leadership; does nothing without one. Rejects when the storage cannot be opened to read. */
  giveUp(): Promise<void>
  close(): Promise<void>
}

export async function openLedStorage(
  { physical, lock, fenced, log }: LedStorageComponents,
  options: ClusterStoreOptions,
): Promise<LedStorage> {
  const open = (over: Store, leads: boolean): Promise<ClusterStorage> =>
    openClusterStorage(over, log, { ...options, leads })
  let storage = await open(physical, lock === undefined)
  let lead: { held: Leadership; over: Store | undefined } | undefined
  let ended = false

  /** Status requests read at any time, so the next storage takes the place of an open one. */
  async function swap(over: Store, leads: boolean): Promise<void> {
    const before = storage
    storage = await open(over, leads)
    await before.close()
  }

  async function quietly(what: string, body: (() => Promise<void>) | undefined): Promise<void> {
    try {
      await body?.()
    } catch (error) {
      log.warn(`${what} failed`, { error: String(error) })
    }
  }

  const led: LedStorage = {
    get store() {
      return storage.store
    },
    get generation() {
      return storage.generation
    },
    get mayWrite() {
      return lock === undefined || lead !== undefined
    },
    async isCurrent() {
      if (ended || lead !== undefined) return true
      // Nobody else replaces it, and while this node does, nothing is to be read of it.
      return lock === undefined ? storage.isOpen : storage.isCurrent()
    },
    replace: (fill, pill) => storage.replace(fill, pill),
    stage: () => storage.stage(),
    pill: (generation) => storage.pill(generation),
    reopen: () => swap(physical, lock === undefined),
    async lead(held) {
      lead = { held, over: undefined }
      try {
        const over = await fenced?.(held)
        lead = { held, over }
        await swap(over ?? physical, true)
      } catch (error) {
        await quietly('reopening the storage to read', led.giveUp)
        throw error
      }
    },
    leadsBy: (held) => lead?.held === held,
    async giveUp() {
      if (lead === undefined) return
      const { held, over } = lead
      lead = undefined
      const written = storage
      // First of all: from here on the fence refuses what this node would still write, and the next leader need not wait until this node has opened
      // what it reads.
      await quietly('releasing the leader lock', () => held.release())
      try {
        await swap(physical, false)
      } finally {
        await quietly('closing the storage', () => written.close())
        await quietly('closing the fenced storage', over && (() => over.close()))
      }
    },
    async close() {
      ended = true
      await storage.close()
    },
  }
  return led
}
