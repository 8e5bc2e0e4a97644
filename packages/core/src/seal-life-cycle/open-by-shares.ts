/** Unsealing by what operators hold: unseal shares, or in a migration the shares of the seal that is migrated from. */
import { timingSafeEqual } from 'node:crypto'
import { CoreError } from '../contracts.ts'
import type { KeyShares, ShareCounts } from './key-shares.ts'
import { invalidRequest } from './request-error.ts'
import { openRootKey, openRootKeyByAutoSeal } from './root-key.ts'
import type { SealConfig } from './seal-config.ts'
import type { OperatorKey } from './seal-material.ts'
import type { SealPlan } from './seal-plan.ts'

export interface RecoveryRecords {
  recoveryConfig(): Promise<SealConfig | undefined>
  recoveryKey(): Promise<Uint8Array | undefined>
}

/**
 * Adds the share, which it takes over. Undefined while more are needed; rejects with CORE_INVALID_REQUEST when they are not the right
 * ones, or when the caller does not know what they open.
 */
export async function openByShares(
  { config, sealedRootKey, migration }: SealPlan,
  given: { share: Uint8Array; migrate: boolean },
  shares: KeyShares,
  records: RecoveryRecords,
): Promise<{ rootKey: Uint8Array; operatorKey: OperatorKey } | undefined> {
  if (migration === undefined) {
    if (given.migrate) throw invalidRequest("can't perform a seal migration, no migration seal found")
    if (config.type !== 'shamir') {
      throw invalidRequest(`the barrier is sealed by ${config.type}, it does not unseal with shares`)
    }
  } else if (!given.migrate) throw invalidRequest('migrate option not provided and seal migration is pending')

  const counts = countsOf(config.type === 'shamir' ? config : await records.recoveryConfig())
  const key = shares.add(given.share, counts)
  if (key === undefined) return undefined
  try {
    const from = migration?.from
    if (from === undefined) return { rootKey: openRootKey(key, sealedRootKey), operatorKey: copy(key, counts) }
    const recoveryRecord = await records.recoveryKey()
    if (recoveryRecord === undefined) throw new CoreError('CORE_INTERNAL', 'stored recovery key is missing')
    const recoveryKey = await openRootKeyByAutoSeal(from, recoveryRecord)
    const isRight = key.length === recoveryKey.length && timingSafeEqual(key, recoveryKey)
    recoveryKey.fill(0)
    if (!isRight) throw invalidRequest('unseal failed, invalid key')
    return { rootKey: await openRootKeyByAutoSeal(from, sealedRootKey), operatorKey: copy(key, counts) }
  } finally {
    key.fill(0)
  }
}

function copy(key: Uint8Array, counts: ShareCounts): OperatorKey {
  return { key: Uint8Array.from(key), ...counts }
}

function countsOf(config: SealConfig | undefined): ShareCounts {
  if (config === undefined) throw new CoreError('CORE_INTERNAL', 'stored recovery configuration is missing')
  return { shares: config.secret_shares, threshold: config.secret_threshold }
}
