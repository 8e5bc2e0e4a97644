/** A node that leads makes sure that the stored seal is the one it knows, and migrates the one it was told to migrate. */
import type { AutoSeal } from '@lockstep/seal'
import type { Reader } from '@lockstep/storage'
import { CoreError, type Log } from '../contracts.ts'
import { opens, type SealPlanner } from './seal-plan.ts'
import type { UnsealedKeys } from './unsealed-keys.ts'

export interface SealSettlingComponents {
  seals: SealPlanner
  keys: Pick<UnsealedKeys, 'migrateSeal' | 'forgetOperatorKey'>
  autoSeal: AutoSeal | undefined
  records(): Pick<Reader, 'get'>
  log: Log
}

export interface SealSettling {
  /** By the seal of this generation (see `SealConfig`) the node was unsealed. */
  unsealedBy(generation: number): void
  /**
   * Rejects with CORE_SEALED when another node has changed the seal to one that this node does not know: it must not lead, as what it would
   * store nobody could open. Rejects as the seals do when they cannot be asked.
   */
  settle(): Promise<void>
}

export function sealSettling({ seals, keys, autoSeal, records, log }: SealSettlingComponents): SealSettling {
  const to = autoSeal?.type ?? 'shamir'
  let known = 0
  const changed = (what: string, cause?: unknown): CoreError =>
    new CoreError('CORE_SEALED', `the seal was changed by another node: ${what}`, { cause })

  return {
    unsealedBy(generation) {
      known = generation
    },
    async settle() {
      const plan = await seals.plan(records()).catch((cause: unknown) => {
        if (!(cause instanceof CoreError && cause.code === 'CORE_INVALID_REQUEST')) throw cause
        throw changed(cause.message, cause)
      })
      if (plan === undefined) throw new CoreError('CORE_SEALED', 'the storage is not initialized')
      const { config, sealedRootKey, migration } = plan
      const { type: from, generation = 0 } = config
      if (migration !== undefined) {
        if (generation !== known) throw changed(`it is ${from} now, this one's is ${to}`)
        log.info('seal migration begins', { from, to })
        await keys.migrateSeal()
        known = generation + 1
        return log.info('seal migration is done', { from, to })
      }
      if (generation !== known && autoSeal !== undefined && !(await opens(autoSeal, sealedRootKey))) {
        throw changed(`this one's ${to} seal does not open it`)
      }
      known = generation
      keys.forgetOperatorKey()
    },
  }
}
