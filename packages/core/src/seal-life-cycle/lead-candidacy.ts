/** Of a node with a leader lock: waits for the lead outside of the order of transitions, becomes active with it, and a standby again. */
import { BarrierError } from '@lockstep/barrier'
import type { LeaderLock, Leadership } from '@lockstep/storage'
import { CoreError, type Log } from '../contracts.ts'
import type { SerialQueue } from '../mounts/serial-queue.ts'
import type { GenerationFollowing } from './generation-following.ts'
import type { HeldLead } from './held-lead.ts'
import type { LedStorage } from './led-storage.ts'
import { standby } from './refusals.ts'
import { retrying } from './retrying.ts'
import type { RunningServices } from './running-services.ts'
import type { SealSettling } from './seal-settling.ts'
import type { UnsealedKeys } from './unsealed-keys.ts'

export interface LeadCandidacyComponents {
  lock: LeaderLock | undefined
  storage: LedStorage
  keys: UnsealedKeys
  running: RunningServices
  lead: HeldLead
  following: GenerationFollowing
  sealState: SealSettling
  alone: SerialQueue
  /** The node cannot lead with the keys it holds. */
  sealItself(): Promise<void>
  log: Log
}

export interface LeadCandidacy {
  /** Another node may lead for long: neither unsealing nor sealing waits for that. */
  begin(waitMs: number): void
  /** At any time. */
  end(reason: CoreError): void
  /** Takes the lead within ten seconds, or rejects with CORE_UNAVAILABLE as another node has it. Does nothing without a leader lock. */
  leadToInitialize(): Promise<void>
  /** In the order of transitions, once services run: standbys send requests from now on. When they cannot be told, the node makes way, perhaps for itself. */
  announce(): Promise<void>
  /** The same after the generation was replaced: in another one there is another root of trust. */
  leadAnew(): Promise<void>
  /** In the order of transitions. Whatever of it fails, the node waits for the lead again, and opens everything anew when it gets it. */
  becomeStandby(waitMs?: number): Promise<void>
}

/** After a failure, for another node to take the lead. */
export const CAMPAIGN_RETRY_MS = 2_000
const INITIALIZE_LOCK_MS = 10_000

export function leadCandidacy(components: LeadCandidacyComponents): LeadCandidacy {
  const { lock, storage, keys, running, lead, following, sealState, alone, sealItself, log } = components
  let campaign: AbortController | undefined

  function begin(waitMs: number): void {
    campaign = retrying(
      async (signal) => {
        const held = await lock!.acquire(signal)
        await alone(() => becomeActive(held, signal))
      },
      {
        startMs: waitMs,
        retryMs: CAMPAIGN_RETRY_MS,
        longestMs: CAMPAIGN_RETRY_MS,
        onError: (error) => log.error('taking the lead failed, trying again', { error: String(error) }),
      },
    )
  }

  async function becomeActive(held: Leadership, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return held.release()
    try {
      const before = storage.generation
      await lead.take(held)
      if (!(await following.explained(before))) throw new CoreError('CORE_SEALED', 'the keys have changed')
      await keys.reopen().catch((cause: unknown) => {
        if (!(cause instanceof BarrierError)) throw cause
        throw new CoreError('CORE_SEALED', 'the stored keyring does not open', { cause })
      })
      // Of a secondary it may be under a keyring that is still on its way. Unread for another reason it might be out of date, and be told to
      // secondaries as the one in force.
      await keys.refreshOperatorKey().catch((error: unknown) => {
        if (!(error instanceof BarrierError)) throw error
        log.warn('what the operators hold shares of was not read anew', { error: String(error) })
      })
      await sealState.settle()
      await lead.begin()
      await running.start()
      await lead.announce()
    } catch (error) {
      await running.stop(standby()).catch(() => {})
      await lead.giveUp().catch((cause: unknown) => {
        log.error('reopening the storage failed', { error: String(cause) })
      })
      if (error instanceof CoreError && error.code === 'CORE_SEALED') {
        log.error('this node cannot lead with the keys it was unsealed with, it seals itself', { error: error.message })
        return sealItself()
      }
      throw error
    }
  }

  async function becomeStandby(waitMs = 0): Promise<void> {
    lead.endServing()
    await running.stop(standby()).catch((error: unknown) => log.error('stopping failed', { error: String(error) }))
    await lead.giveUp().catch((error: unknown) => log.error('reopening the storage failed', { error: String(error) }))
    if (keys.present) begin(waitMs)
  }

  async function orMakeWay(body: () => Promise<void>): Promise<void> {
    try {
      await body()
    } catch (error) {
      log.error('forwarding was not started, the node is a standby now', { error: String(error) })
      await becomeStandby(CAMPAIGN_RETRY_MS)
    }
  }

  return {
    begin,
    end: (reason) => campaign?.abort(reason),
    async leadToInitialize() {
      if (lock === undefined) return
      let held: Leadership
      try {
        held = await lock.acquire(AbortSignal.timeout(INITIALIZE_LOCK_MS))
      } catch (cause) {
        throw new CoreError('CORE_UNAVAILABLE', 'another node leads: initialize that one', { cause })
      }
      try {
        await lead.take(held)
      } catch (error) {
        await lead.giveUp()
        throw error
      }
    },
    becomeStandby,
    announce: () => orMakeWay(lead.announce),
    leadAnew: () =>
      orMakeWay(async () => {
        await lead.begin()
        await lead.announce()
      }),
  }
}
