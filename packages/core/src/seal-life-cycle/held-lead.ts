/** The lead while this node holds it, and what it does for its standbys meanwhile. Without a leader lock there is none to hold. */
import type { Leadership } from '@lockstep/storage'
import type { Log } from '../contracts.ts'
import type { Leading } from '../ha/leading.ts'
import type { SerialQueue } from '../mounts/serial-queue.ts'
import type { LedStorage } from './led-storage.ts'
import type { Unsealed } from './services.ts'
import type { UnsealedKeys } from './unsealed-keys.ts'

export interface HeldLeadComponents {
  storage: LedStorage
  keys: UnsealedKeys
  startLeading: ((unsealed: Unsealed) => Promise<Leading>) | undefined
  alone: SerialQueue
  /** In the order of transitions, when another node may have taken the lead. */
  becomeStandby(): Promise<void>
  log: Log
}

/** In the order of transitions, all but `serving`. */
export interface HeldLead {
  /** Whether services run for standbys, too. */
  readonly serving: boolean
  /** Opens the storage to write. When it rejects, `held` is released. */
  take(held: Leadership): Promise<void>
  /** With keys that are the storage's; again after they were replaced. */
  begin(): Promise<void>
  /** Services run: standbys send requests from now on. */
  announce(): Promise<void>
  endServing(): void
  /** Does nothing without one. Rejects when the storage cannot be opened to read. */
  giveUp(): Promise<void>
}

export function heldLead(components: HeldLeadComponents): HeldLead {
  const { storage, keys, startLeading, alone, becomeStandby, log } = components
  let lead: { held: Leadership; leading: Leading | undefined; serving: boolean } | undefined

  async function lost(held: Leadership): Promise<void> {
    if (!storage.leadsBy(held)) return
    log.warn('the leader lock is lost, this node is a standby now')
    await becomeStandby()
  }

  return {
    get serving() {
      return lead?.serving === true
    },
    async take(held) {
      await storage.lead(held)
      lead = { held, leading: undefined, serving: false }
      void held.lost
        .then(() => alone(() => lost(held)))
        .catch((error: unknown) => log.error('becoming a standby failed', { error: String(error) }))
    },
    async begin() {
      if (lead === undefined) return
      await lead.leading?.stop()
      lead.leading = await startLeading?.(keys)
    },
    async announce() {
      if (lead === undefined) return
      lead.serving = true
      if (lead.leading !== undefined) await lead.held.publish(lead.leading.advertisement)
    },
    endServing() {
      if (lead !== undefined) lead.serving = false
    },
    async giveUp() {
      const leading = lead?.leading
      lead = undefined
      await leading?.stop().catch((error: unknown) => log.error('stopping forwarding failed', { error: String(error) }))
      await storage.giveUp()
    },
  }
}
