/** Changes of what is stored, by a node that is active: each stops the services, changes it, and starts them again. */
import type { AutoSeal } from '@lockstep/seal'
import type { Log } from '../contracts.ts'
import type { SerialQueue } from '../mounts/serial-queue.ts'
import { prepareAdoption, storeAdopted } from './adopting.ts'
import { CAMPAIGN_RETRY_MS, type LeadCandidacy } from './lead-candidacy.ts'
import type { LedStorage } from './led-storage.ts'
import type { LifeCycle } from './life-cycle-contract.ts'
import { poisonPill } from './poison-pill.ts'
import { changing, restoring } from './refusals.ts'
import type { RunningServices } from './running-services.ts'
import type { UnsealedKeys } from './unsealed-keys.ts'

export interface StoredChangesComponents {
  autoSeal: AutoSeal | undefined
  /** Whether there is a leader lock. */
  hasStandbys: boolean
  storage: LedStorage
  keys: UnsealedKeys
  running: RunningServices
  candidacy: Pick<LeadCandidacy, 'becomeStandby' | 'leadAnew'>
  alone: SerialQueue
  /** For a failure, or because the keys of what is stored now are not known. */
  sealItself(): Promise<void>
  log: Log
}

/** See `LifeCycle`. */
export type StoredChanges = Pick<LifeCycle, 'transition' | 'adopt' | 'stage' | 'restore'>

export function storedChanges(components: StoredChangesComponents): StoredChanges {
  const { autoSeal, hasStandbys, storage, keys, running, candidacy, alone, sealItself, log } = components

  /** Without services the node would neither serve nor say why. */
  async function startAgain(): Promise<void> {
    try {
      await running.start()
    } catch (error) {
      if (hasStandbys) {
        log.error('starting after a change of role failed, the node is a standby now', { error: String(error) })
        await candidacy.becomeStandby(CAMPAIGN_RETRY_MS)
      } else {
        log.error('starting after a change of role failed, the node seals itself', { error: String(error) })
        await sealItself()
      }
      throw error
    }
  }

  return {
    transition: (change, before) =>
      alone(async () => {
        running.demand()
        try {
          await running.stop(changing(), { hold: true, before: async () => before?.(keys) })
          await change(keys)
        } catch (error) {
          log.error('a change of role failed, nothing was changed', { error: String(error) })
          throw error
        } finally {
          await startAgain()
        }
      }),

    adopt: (reply, fill) =>
      alone(async () => {
        const { operatorKey } = reply
        let kept = false
        try {
          running.demand()
          const adoption = await prepareAdoption(reply, autoSeal)
          const { keyring } = adoption
          try {
            await running.stop(changing(), { hold: true })
            await storeAdopted(adoption, storage, keys, fill)
            kept = autoSeal === undefined
            keys.take({ keyring, operatorKey: kept ? operatorKey : undefined })
          } catch (error) {
            keyring.close()
            throw error
          } finally {
            await startAgain()
          }
          await candidacy.leadAnew()
        } finally {
          reply.keyring.fill(0)
          if (!kept) operatorKey.key.fill(0)
        }
      }),

    stage: () =>
      alone(() => {
        running.demand()
        return storage.stage()
      }).then((staged) => ({ ...staged, discard: () => alone(() => staged.discard()) })),

    restore: (staged, { keepKeys, finish }) =>
      alone(async () => {
        running.demand()
        const before = storage.generation
        const pill = keepKeys ? undefined : (context: string): Uint8Array => poisonPill(keys.keyring(), context)
        try {
          await running.stop(restoring(), { hold: true })
          await staged.activate(() => finish(storage.store.logged), pill)
          if (keepKeys) await keys.reopen()
        } finally {
          if (storage.generation !== before && !keepKeys) await sealItself()
          else await startAgain()
        }
        if (keepKeys) await candidacy.leadAnew()
      }),
  }
}
