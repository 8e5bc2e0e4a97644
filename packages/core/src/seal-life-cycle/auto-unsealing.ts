/** Unsealing by the auto seal: at start-up, and after a failure until it succeeds or an operator seals. */
import type { AutoSeal } from '@lockstep/seal'
import { CoreError, type Log } from '../contracts.ts'
import { retrying } from './retrying.ts'
import { openRootKeyByAutoSeal } from './root-key.ts'
import type { SealPlan } from './seal-plan.ts'

export interface AutoUnsealingComponents {
  autoSeal: AutoSeal | undefined
  /** With a leader lock another node may initialize the storage. */
  hasStandbys: boolean
  /** Opens the storage of today. */
  follow(): Promise<void>
  /** Undefined when it is not initialised. */
  plan(): Promise<SealPlan | undefined>
  isUnsealed(): boolean
  /** Number of the storage generation that is open. */
  generation(): number
  /** Takes over the root key. In the order of transitions. */
  unseal(rootKey: Uint8Array, stillWanted: () => boolean): Promise<void>
  log: Log
}

export interface AutoUnsealing {
  /** See `LifeCycle.autoUnseal`. */
  start(): Promise<void>
  /** Sealed for a failure, not by an operator. Does nothing without an auto seal. */
  keepTrying(startMs?: number): void
  end(reason: unknown): void
}

const RETRY_MS = 1_000
const LONGEST_MS = 15_000

export function autoUnsealing(components: AutoUnsealingComponents): AutoUnsealing {
  const { autoSeal, hasStandbys, isUnsealed, generation, log } = components
  let trying: AbortController | undefined

  /** Resolves with false when there is nothing to unseal yet. Who has the key may be far away: the node goes on while it is asked. */
  async function unseal(signal?: AbortSignal): Promise<boolean> {
    await components.follow()
    const before = generation()
    const plan = await components.plan()
    if (isUnsealed()) return true
    if (plan === undefined) return false
    if (plan.migration !== undefined) {
      const seal = { from: plan.config.type, to: autoSeal?.type ?? 'shamir' }
      log.warn('seal migration: this node waits for its operators to unseal it with migrate', seal)
      return true
    }
    if (autoSeal === undefined) return true
    const rootKey = await openRootKeyByAutoSeal(autoSeal, plan.sealedRootKey)
    await components.unseal(rootKey, () => {
      if (signal?.aborted || isUnsealed()) return false
      if (generation() !== before) throw new CoreError('CORE_UNAVAILABLE', 'the storage was replaced')
      return true
    })
    return true
  }

  function keepTrying(startMs = 0): void {
    if (autoSeal === undefined) return
    const nothingYet = new Error('not initialized')
    trying?.abort(nothingYet)
    trying = retrying(
      async (signal) => {
        if (!(await unseal(signal))) throw nothingYet
      },
      {
        startMs,
        retryMs: RETRY_MS,
        longestMs: LONGEST_MS,
        onError: (error) => {
          if (error !== nothingYet) log.error('auto unseal failed, trying again', { error: String(error) })
        },
      },
    )
  }

  return {
    keepTrying,
    end: (reason) => trying?.abort(reason),
    async start() {
      try {
        if ((await unseal()) || !hasStandbys) return
      } catch (error) {
        if (!(error instanceof CoreError && error.code === 'CORE_UNAVAILABLE')) throw error
        log.error('auto unseal failed, the node stays sealed until it succeeds', { error: error.message })
      }
      keepTrying(RETRY_MS)
    },
  }
}
