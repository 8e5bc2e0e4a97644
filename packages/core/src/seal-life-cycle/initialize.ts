/** `sys/init`: makes the keyring and the operators' shares. */
import { createKeyring, type Keyring } from '@lockstep/barrier'
import type { AutoSeal } from '@lockstep/seal'
import type { Store } from '@lockstep/storage'
import { transact } from '@lockstep/storage'
import { CoreError } from '../contracts.ts'
import { checkShares, KEY_BYTES, sealKeys } from './seal-config.ts'
import { adoptSeal, newOperatorKey, type OperatorKey } from './seal-material.ts'

export interface InitializeParams {
  shares: number
  threshold: number
}

/** Field by field, with Vault's defaults (5 shares, 3 needed) and its error texts. */
export function parseInitialize(params: Record<string, unknown>, auto: boolean): InitializeParams {
  for (const field of ['pgp_keys', 'root_token_pgp_key', 'recovery_pgp_keys']) {
    const value = params[field]
    if (value !== undefined && value !== null && value !== '' && !(Array.isArray(value) && value.length === 0)) {
      throw new CoreError('CORE_INVALID_REQUEST', `${field}: PGP-encrypted shares are not supported`)
    }
  }
  const kind = auto ? 'recovery' : 'secret'
  const shares = wholeNumber(params, `${kind}_shares`, 5)
  const threshold = wholeNumber(params, `${kind}_threshold`, Math.min(3, shares))
  if (auto) {
    for (const field of ['secret_shares', 'secret_threshold']) {
      const given = wholeNumber(params, field, 0)
      if (given > 1) throw new CoreError('CORE_INVALID_REQUEST', `parameters ${field} not applicable to seal type`)
    }
  }
  checkShares(kind, shares, threshold)
  return { shares, threshold }
}

function wholeNumber(params: Record<string, unknown>, field: string, fallback: number): number {
  const value = params[field]
  if (value === undefined || value === null || value === 0) return fallback
  const number = typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value
  if (typeof number !== 'number' || !Number.isInteger(number)) {
    throw new CoreError('CORE_INVALID_REQUEST', `${field}: expected a whole number`)
  }
  return number
}

export interface Initialized {
  keyring: Keyring
  operatorKey: OperatorKey
  /** To hand out: unseal shares, or recovery shares with an auto seal. */
  parts: Uint8Array[]
}

/** Writes seal and keyring in one transaction; rejects with CORE_INVALID_REQUEST when the storage holds a keyring already. */
export async function initializeStorage(
  records: Store,
  params: InitializeParams,
  autoSeal: AutoSeal | undefined,
): Promise<Initialized> {
  const keyring = createKeyring()
  const { operatorKey, parts } = newOperatorKey(params.shares, params.threshold)
  const rootKey = keyring.rootKey()
  const seal = await adoptSeal(rootKey, operatorKey, autoSeal)
  rootKey.fill(0)
  await transact(records, async (transaction) => {
    if ((await transaction.get(sealKeys.keyring)) !== undefined) {
      throw new CoreError('CORE_INVALID_REQUEST', 'Vault is already initialized')
    }
    for (const [key, value] of seal) await transaction.put(key, value)
    await transaction.put(sealKeys.keyring, keyring.encrypt())
  })
  return { keyring, operatorKey, parts }
}

export function shareTexts(parts: readonly Uint8Array[]): { hex: string[]; base64: string[] } {
  if (parts.some((part) => part.length < KEY_BYTES)) throw new RangeError('a share is too short')
  return {
    hex: parts.map((part) => Buffer.from(part).toString('hex')),
    base64: parts.map((part) => Buffer.from(part).toString('base64')),
  }
}
