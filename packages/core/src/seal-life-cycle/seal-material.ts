/**
 * The seal records of one cluster: made at init, or at activation from what the primary hands over. The seal matrix of
 * the specification is `adoptSeal`: a Shamir secondary takes the primary's split key, an auto-sealed one keeps its seal
 * and takes it as recovery key; which kind the primary has makes no other difference.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { type AutoSeal, splitKey } from '@lockstep/seal'
import type { Reader } from '@lockstep/storage'
import { openRootKey, sealRootKey } from './root-key.ts'
import { encodeSealConfig, KEY_BYTES, readSealConfig, type SealConfig, sealKeys } from './seal-config.ts'

/** What operators hold shares of: the key-encryption key (Shamir) or the recovery key (auto seal). */
export interface OperatorKey {
  key: Uint8Array
  shares: number
  threshold: number
}

/** Records to store unencrypted (they are sealed, or hold counts only). */
export type SealRecords = Map<string, Uint8Array>

export async function adoptSeal(
  rootKey: Uint8Array,
  operatorKey: OperatorKey,
  autoSeal: AutoSeal | undefined,
  generation = 0,
): Promise<SealRecords> {
  const operators = await operatorRecords(rootKey, operatorKey, autoSeal, generation)
  if (autoSeal === undefined) return operators
  const own: SealConfig = { type: autoSeal.type, secret_shares: 1, secret_threshold: 1, generation }
  return new Map([
    [sealKeys.config, encodeSealConfig(own)],
    [sealKeys.rootKey, await autoSeal.encrypt(rootKey)],
    ...operators,
  ])
}

/** Those of them that change with the operators' key. */
export async function operatorRecords(
  rootKey: Uint8Array,
  operatorKey: OperatorKey,
  autoSeal: AutoSeal | undefined,
  generation: number,
): Promise<SealRecords> {
  const counts = { type: 'shamir', secret_shares: operatorKey.shares, secret_threshold: operatorKey.threshold }
  if (autoSeal === undefined) {
    return new Map([
      [sealKeys.config, encodeSealConfig({ ...counts, generation })],
      [sealKeys.rootKey, sealRootKey(operatorKey.key, rootKey)],
    ])
  }
  return new Map([
    [sealKeys.recoveryConfig, encodeSealConfig(counts)],
    [sealKeys.recoveryKey, await autoSeal.encrypt(operatorKey.key)],
  ])
}

/** Whether stored seal records are those of this operators' key. Rejects as the auto seal does. */
export async function isSealedFor(
  records: Pick<Reader, 'get'>,
  { key, shares, threshold }: OperatorKey,
  autoSeal: Pick<AutoSeal, 'decrypt'> | undefined,
): Promise<boolean> {
  const config = await readSealConfig(records, autoSeal === undefined ? sealKeys.config : sealKeys.recoveryConfig)
  const record = await records.get(autoSeal === undefined ? sealKeys.rootKey : sealKeys.recoveryKey)
  if (config === undefined || record === undefined) return false
  if (config.secret_shares !== shares || config.secret_threshold !== threshold) return false
  if (autoSeal !== undefined) {
    const own = await autoSeal.decrypt(record)
    const same = own.length === key.length && timingSafeEqual(own, key)
    own.fill(0)
    return same
  }
  try {
    openRootKey(key, record).fill(0)
    return true
  } catch {
    return false
  }
}

/** A fresh operator key and the shares to hand out; a single share is the key itself. */
export function newOperatorKey(shares: number, threshold: number): { operatorKey: OperatorKey; parts: Uint8Array[] } {
  const key = randomBytes(KEY_BYTES)
  const parts = splitKey(key, { secretShares: shares, secretThreshold: threshold })
  return { operatorKey: { key, shares, threshold }, parts }
}
