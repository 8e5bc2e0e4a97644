/** The rekeys of a cluster: of what unseals it and, with an auto seal, of its recovery key. */
import { transact } from '@lockstep/storage'
import type { Log } from '../contracts.ts'
import type { LifeCycle } from './life-cycle-contract.ts'
import { type Rekey, type RekeyAction, rekey } from './rekey.ts'
import { invalidRequest } from './request-error.ts'
import type { Unsealed } from './services.ts'
import { backupAnswer, backupKeys, decodeBackup, type RekeyTarget } from './share-backup.ts'

export interface RekeyingComponents {
  lifeCycle(): LifeCycle
  /** Throws CORE_SEALED. */
  active(): Unsealed
  hasAutoSeal: boolean
  log: Log
}

export interface Rekeying {
  run(
    target: RekeyTarget,
    action: RekeyAction,
    params: Record<string, unknown>,
  ): Promise<Record<string, unknown> | undefined>
  /** The PGP-encrypted copies of the last rekey with `backup`. Rejects with CORE_INVALID_REQUEST when there are none. */
  backup(target: RekeyTarget): Promise<Record<string, unknown>>
  deleteBackup(target: RekeyTarget): Promise<void>
  /** Forgets every attempt. */
  reset(): void
}

const SECONDARY = 'rekeying can only be performed on the primary cluster when replication is activated'

export function rekeying(components: RekeyingComponents): Rekeying {
  const { lifeCycle, active, hasAutoSeal, log } = components

  const of = (target: RekeyTarget): Rekey =>
    rekey({
      ...{ target, log },
      shareCounts: () => active().shareCounts(),
      operatorKey: () => active().operatorKey(),
      replace: (next, backup) =>
        lifeCycle().replaceOperatorKey(next, backup && new Map([[backupKeys[target], backup]])),
      keepBackup: (backup) => active().store.logged.put(backupKeys[target], backup),
    })
  const rekeys: Record<RekeyTarget, Rekey> = { barrier: of('barrier'), recovery: of('recovery') }

  function offered(target: RekeyTarget): Rekey {
    const { performance, dr } = active().store.modes
    if (dr === 'secondary') throw invalidRequest('path disabled in replication DR secondary mode')
    if (performance === 'secondary') throw invalidRequest(SECONDARY)
    if (target === 'recovery' && !hasAutoSeal) throw invalidRequest('recovery rekeying not supported')
    if (target === 'barrier' && hasAutoSeal) {
      throw invalidRequest(
        'an auto seal has no unseal keys to rekey; its recovery key is rekeyed with the target recovery',
      )
    }
    return rekeys[target]
  }

  return {
    run: async (target, action, params) => offered(target).run(action, params),
    async backup(target) {
      const record = await active().store.logged.get(backupKeys[target])
      if (record === undefined) throw invalidRequest('no backed-up keys found')
      return backupAnswer(decodeBackup(backupKeys[target], record))
    },
    async deleteBackup(target) {
      await transact(active().store.logged, (transaction) => transaction.delete(backupKeys[target]))
    },
    reset() {
      for (const each of Object.values(rekeys)) each.reset()
    },
  }
}
