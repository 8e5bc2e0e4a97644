/** Another node may put a new generation in the place of the one that is open here, and its keys may be others than those held. */
import type { Log } from '../contracts.ts'
import type { SerialQueue } from '../mounts/serial-queue.ts'
import type { LedStorage } from './led-storage.ts'
import { KEYRING_UNEXPLAINED, KEYS_CHANGED, poisonedBy } from './poison-pill.ts'
import { sealKeys } from './seal-config.ts'
import type { UnsealedKeys } from './unsealed-keys.ts'

export interface GenerationFollowingComponents {
  storage: LedStorage
  keys: Pick<UnsealedKeys, 'present' | 'keyring' | 'reopen'>
  alone: SerialQueue
  /** The keys held are dead. */
  sealItself(): Promise<void>
  log: Log
}

export interface GenerationFollowing {
  /** Another node may have replaced the storage meanwhile, or this one failed to open it. Not to be called in a transition. */
  follow(): Promise<void>
  /**
   * In a transition that opened the storage anew, with the generation that was open before. False when the keys held are not those of the
   * generation that is open. Rejects when that cannot be seen; it is looked at again.
   */
  explained(before: number): Promise<boolean>
  /** Keys are held no longer, so there is nothing to explain. */
  forget(): void
}

export function generationFollowing(components: GenerationFollowingComponents): GenerationFollowing {
  const { storage, keys, alone, sealItself, log } = components
  /** The generation whose keys are held, as long as it is not known whether those of the open one are others. */
  let unexplained: number | undefined

  async function explained(before: number): Promise<boolean> {
    unexplained ??= before
    const same = !keys.present || storage.generation === unexplained || (await sameKeys(unexplained))
    unexplained = undefined
    return same
  }

  /**
   * Another node has put a new generation in the place of `before`. Only who held the keys of that one could leave a pill that opens
   * with them: it tells a change of role from a storage that was corrupted, or replaced behind the nodes' back.
   */
  async function sameKeys(before: number): Promise<boolean> {
    if (poisonedBy(await storage.pill(before), keys.keyring())) {
      log.error(KEYS_CHANGED, { generation: storage.generation })
      return false
    }
    try {
      if ((await storage.store.logged.get(sealKeys.keyring)) === undefined) throw new Error('there is none')
      await keys.reopen()
      log.warn('the storage was replaced by another generation under the same keys', { generation: storage.generation })
      return true
    } catch (error) {
      // A storage that is away says nothing about keys.
      if ((error as { code?: unknown }).code === 'STORAGE_UNAVAILABLE') throw error
      const fields = { generation: storage.generation, error: String(error) }
      log.error(KEYRING_UNEXPLAINED, fields)
      return false
    }
  }

  return {
    async follow() {
      if (unexplained === undefined && (await storage.isCurrent())) return
      await alone(async () => {
        if (unexplained === undefined && (await storage.isCurrent())) return
        const before = storage.generation
        await storage.reopen()
        if (await explained(before)) return
        await sealItself()
      })
    },
    explained,
    forget() {
      unexplained = undefined
    },
  }
}
