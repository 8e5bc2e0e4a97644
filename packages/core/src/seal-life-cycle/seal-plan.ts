/** How the seals of the configuration stand to the one that is stored: the same, or one to migrate from and one to migrate to. */
import type { AutoSeal } from '@lockstep/seal'
import type { Reader } from '@lockstep/storage'
import { CoreError } from '../contracts.ts'
import { invalidRequest } from './request-error.ts'
import { readSealConfig, type SealConfig, sealKeys } from './seal-config.ts'

export interface ConfiguredSeals {
  /** None is Shamir. */
  autoSeal: AutoSeal | undefined
  /** Disabled in the configuration: what to migrate from. */
  sealToMigrateFrom: AutoSeal | undefined
}

export interface SealPlan {
  config: SealConfig
  sealedRootKey: Uint8Array
  /** Undefined when there is nothing to migrate. `from` none is Shamir. */
  migration: { from: AutoSeal | undefined } | undefined
}

export interface SealPlanner {
  /**
   * Undefined when nothing is stored. Rejects with CORE_INVALID_REQUEST when the configuration does not say how to open what is stored, and
   * with CORE_UNAVAILABLE when a seal that would tell cannot be asked.
   */
  plan(records: Pick<Reader, 'get'>): Promise<SealPlan | undefined>
}

export function sealPlanner({ autoSeal, sealToMigrateFrom: from }: ConfiguredSeals): SealPlanner {
  const wanted = autoSeal?.type ?? 'shamir'
  /** Which of two seals of one kind opens a record takes asking them. */
  let asked: { record: Uint8Array; isMigrated: boolean } | undefined

  async function isMigrated(record: Uint8Array): Promise<boolean> {
    if (asked === undefined || Buffer.compare(asked.record, record) !== 0) {
      asked = { record, isMigrated: await opensNow(autoSeal!, from!, record) }
    }
    return asked.isMigrated
  }

  async function migrationOf(stored: string, record: Uint8Array): Promise<SealPlan['migration']> {
    if (from === undefined) {
      if (stored === wanted) return undefined
      if (stored === 'shamir') return { from: undefined }
      throw invalidRequest(
        `cannot seal migrate from "${stored}" to "${name(wanted)}", no disabled seal in configuration`,
      )
    }
    if (stored === wanted) {
      if (wanted !== from.type || (await isMigrated(record))) return undefined
      return { from }
    }
    if (stored === from.type) return { from }
    throw invalidRequest(
      `the storage is sealed by "${stored}", which is neither the seal of the configuration, "${wanted}", nor its disabled one, "${from.type}"`,
    )
  }

  return {
    async plan(records) {
      const config = await readSealConfig(records, sealKeys.config)
      if (config === undefined) return undefined
      const sealedRootKey = await records.get(sealKeys.rootKey)
      if (sealedRootKey === undefined) throw new CoreError('CORE_INTERNAL', 'stored root key is missing')
      return { config, sealedRootKey, migration: await migrationOf(config.type, sealedRootKey) }
    },
  }
}

function name(type: string): string {
  return type === 'shamir' ? 'Shamir' : type
}

/** Whether it is `next` that opens the record, not `former`; rejects when neither does. */
async function opensNow(next: AutoSeal, former: AutoSeal, record: Uint8Array): Promise<boolean> {
  if (await opens(next, record)) return true
  if (await opens(former, record)) return false
  throw invalidRequest(`neither the old nor the new ${next.type} seal opens the stored root key`)
}

/** Rejects as the seal does when it cannot be asked. */
export async function opens(seal: AutoSeal, record: Uint8Array): Promise<boolean> {
  try {
    const opened = await seal.decrypt(record)
    opened.fill(0)
    return true
  } catch (cause) {
    const reasons = [cause, (cause as Error).cause].map((error) => (error as { code?: unknown } | undefined)?.code)
    if (reasons.includes('SEAL_UNKNOWN_KEY') || reasons.includes('SEAL_DECRYPTION_FAILED')) return false
    throw cause
  }
}
