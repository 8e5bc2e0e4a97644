/** The current generation over a physical store, open; and its replacement by the next. */
import type { Store } from '@lockstep/storage'
import { CoreError, type Log } from '../contracts.ts'
import { type ClusterStore, type ClusterStoreOptions, openClusterStore } from './cluster-store.ts'
import { type Generations, openGenerations, type StagedGeneration } from './generations.ts'

export interface ClusterStorage {
  readonly store: ClusterStore
  /** Number of the generation that is open. */
  readonly generation: number
  readonly isOpen: boolean
  /** False when it is closed, or another node has replaced the generation that is open here. */
  isCurrent(): Promise<boolean>
  /**
   * `fill` writes a new, empty generation, which takes the place of the old one once `fill` resolves, or never. When it rejects for
   * another reason than `fill`'s, `store` may be closed.
   */
  replace(fill: (next: ClusterStore) => Promise<void>, pill?: (context: string) => Uint8Array): Promise<void>
  /** As of `Generations`; what is made current is opened in place of what is open, and may be closed when that fails. */
  stage(): Promise<StagedGeneration>
  /** See `Generations`. */
  pill: Generations['pill']
  close(): Promise<void>
}

export interface ClusterStorageOptions extends ClusterStoreOptions {
  /** Only the one node that leads writes. */
  leads: boolean
}

export async function openClusterStorage(
  physical: Store,
  log: Log,
  options: ClusterStorageOptions,
): Promise<ClusterStorage> {
  const generations = await openGenerations(physical, log, { clean: options.leads })
  const storeOptions = { ...options, readOnly: !options.leads }
  const open = (generation: Store): Promise<ClusterStore> => openClusterStore(generation, log, storeOptions)
  let number = generations.number()
  let closed = false
  let store: ClusterStore
  try {
    store = await open(generations.current())
  } catch (error) {
    await generations.close()
    throw error
  }
  async function openCurrent(): Promise<void> {
    const replaced = store
    try {
      store = await open(generations.current())
      number = generations.number()
    } catch (error) {
      closed = true
      throw error
    } finally {
      await replaced.close()
    }
  }

  /** What would go on being written to a generation that is not current any more would be lost with it. */
  async function closedUnlessKnown(change: () => Promise<void>): Promise<void> {
    try {
      await change()
    } catch (error) {
      if (!generations.isKnown()) {
        closed = true
        await store.close()
      }
      throw error
    }
  }

  return {
    get store() {
      return store
    },
    get generation() {
      return number
    },
    get isOpen() {
      return !closed
    },
    async isCurrent() {
      if (closed) return false
      await generations.refresh()
      return generations.number() === number
    },
    pill: (generation) => generations.pill(generation),
    async replace(fill, pill) {
      const fillNext = async (next: Store): Promise<void> => {
        const filled = await open(next)
        try {
          await fill(filled)
        } finally {
          await filled.close()
        }
      }
      await closedUnlessKnown(() => generations.replace(fillNext, pill))
      await openCurrent()
    },
    async stage() {
      const staged = await generations.stage()
      return {
        ...staged,
        async activate(finish, pill) {
          if (closed) throw new CoreError('CORE_UNAVAILABLE', 'the storage was closed meanwhile, nothing was changed')
          await closedUnlessKnown(() => staged.activate(finish, pill))
          await openCurrent()
        },
        async discard() {
          // The next one to open the storage deletes it.
          if (!closed) await staged.discard()
        },
      }
    },
    async close() {
      closed = true
      await store.close()
      await generations.close()
    },
  }
}
