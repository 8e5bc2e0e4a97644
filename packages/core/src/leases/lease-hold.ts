/**
 * The hold on lease revocation: after an unplanned promotion this cluster may know of renewals less than the lost primary granted, so
 * nothing is revoked for having expired until an operator confirms, or the old primary follows. After a restore likewise. Expired tokens are refused all the
 * same, and revocations that are asked for are carried out. Class local: a DR secondary of this cluster holds on too.
 */
import { readJson, writeJson } from '@lockstep/backend'
import type { Store, Transaction } from '@lockstep/storage'
import type { Log } from '../contracts.ts'
import type { HoldableLeaseManager } from './lease-manager.ts'
import { EXPIRE_PREFIX } from './lease-records.ts'

export interface LeaseHoldRecord {
  /** ms since the epoch. */
  since: number
  reason: string
  /** Epoch in which the old primary led: the hold ends when one that did follows this cluster. */
  supersedes: number
}

export interface LeaseHold {
  /** Takes what is stored into force; before leases are restored. */
  load(): Promise<void>
  state(): LeaseHoldRecord | undefined
  /** Leases and tokens that have expired and wait. */
  waiting(): Promise<number>
  /** Ends it durably. Does nothing when there is none. */
  release(why: string): Promise<void>
  /** A cluster that led in this epoch follows this one now. */
  superseded(epoch: number): Promise<void>
}

export interface LeaseHoldComponents {
  /** The barrier. */
  storage: Pick<Store, 'get' | 'put' | 'delete'>
  leases: Pick<HoldableLeaseManager, 'hold' | 'expired'>
  log: Log
}

const KEY = `${EXPIRE_PREFIX}hold`

/** In the transaction of the promotion. */
export function saveLeaseHold(transaction: Pick<Transaction, 'put'>, hold: LeaseHoldRecord): Promise<void> {
  return writeJson(transaction, KEY, hold)
}

export function leaseHold({ storage, leases, log }: LeaseHoldComponents): LeaseHold {
  let hold: LeaseHoldRecord | undefined

  async function release(why: string): Promise<void> {
    if (hold === undefined) return
    await storage.delete(KEY)
    hold = undefined
    log.warn('lease revocation goes on', { why })
    leases.hold(false)
  }

  return {
    async load() {
      hold = await readJson<LeaseHoldRecord>(storage, KEY)
      if (hold === undefined) return
      leases.hold(true)
      log.warn('lease revocation is held until it is confirmed', { reason: hold.reason })
    },
    state: () => hold,
    waiting: () => leases.expired(),
    release,
    async superseded(epoch) {
      if (hold?.supersedes === epoch) await release('the old primary follows this cluster')
    },
  }
}
