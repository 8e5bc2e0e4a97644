/**
 * A change of role is checked and answered at once, then carried out by the life cycle with the services stopped; one at a time, so
 * that what was checked still holds when it runs. What a change stores is one transaction: after a crash the cluster has the old role or
 * the new one, with all that belongs to it.
 */
import type { Keyring } from '@lockstep/barrier'
import { type Transaction, transact } from '@lockstep/storage'
import { CoreError, type Log } from '../../contracts.ts'
import type { ClusterStore } from '../../seal-life-cycle/cluster-store.ts'
import type { LifeCycle } from '../../seal-life-cycle/life-cycle-contract.ts'
import { type ReplicationKind, type RoleRecord, type RoleRecords, roleRecords } from '../role-records.ts'
import { opensAll, sealedAnew, throughBarrier } from './adopt-keyring.ts'

export interface ChangeRunnerComponents {
  lifeCycle: Pick<LifeCycle, 'transition'>
  log: Log
}

/** What is stored with a new role, in the same transaction. */
export type Also = (transaction: Transaction, records: RoleRecords) => Promise<void>

export interface StoreOptions {
  also?: Also
  /** For what cannot be part of the transaction and does no harm without it. */
  first?(store: ClusterStore): Promise<void>
  /** The primary's, taken over when this cluster's own is not known to it. */
  keyring?: Keyring
}

export interface ChangeRunner {
  /** `prepare` checks, and resolves with what is to be done once the answer is out. */
  run(kind: ReplicationKind, prepare: () => Promise<() => Promise<void>>): Promise<void>
  /** What stores a new role, for `prepare` to resolve with. */
  store(kind: ReplicationKind, next: RoleRecord, options?: StoreOptions): () => Promise<void>
  /** From now on every change is refused. */
  end(): void
}

export function changeRunner({ lifeCycle, log }: ChangeRunnerComponents): ChangeRunner {
  let underWay = false
  let ended = false

  return {
    async run(kind, prepare) {
      if (underWay || ended) {
        throw new CoreError(
          'CORE_UNAVAILABLE',
          'another change of the replication role is under way, try again shortly',
        )
      }
      underWay = true
      try {
        const carryOut = await prepare()
        setImmediate(() => {
          carryOut()
            .catch((error: unknown) =>
              log.error('changing the replication role failed', { kind, error: String(error) }),
            )
            .finally(() => {
              underWay = false
            })
        })
      } catch (error) {
        underWay = false
        throw error
      }
    },

    store(kind, next, { also, first, keyring } = {}) {
      return () =>
        lifeCycle.transition(async (cluster) => {
          // What the role forbids to write is lifted for the change itself.
          cluster.store.modes[kind] = 'disabled'
          await first?.(cluster.store)
          const own = cluster.keyring()
          const anew =
            keyring === undefined || opensAll(keyring, own)
              ? undefined
              : await sealedAnew(cluster.store.logged, cluster.store.classes, own, keyring)
          await transact(cluster.store.logged, async (raw) => {
            for (const [key, record] of anew ?? []) await raw.put(key, record)
            const transaction = await throughBarrier(raw, anew === undefined ? own : keyring!)
            const records = roleRecords(transaction)
            await also?.(transaction, records)
            await records.saveRole(kind, next)
          })
          if (anew !== undefined) await cluster.reloadKeyring()
          log.info('the replication role has changed', { kind, mode: next.mode })
        })
    },

    end() {
      ended = true
    },
  }
}

export function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}

export function enabledAlready(kind: ReplicationKind): CoreError {
  return invalid(`${kind} replication is already enabled on this cluster`)
}
