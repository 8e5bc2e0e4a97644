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
export function parseInitialize(params: Record<string, unknown>, sealType: string): InitializeParams {
  const auto = sealType !== 'shamir'
  const kind = auto ? 'recovery' : 'secret'
  const other = auto ? 'secret' : 'recovery'
  const foreign = [`${other}_shares`, `${other}_threshold`, auto ? 'pgp_keys' : 'recovery_pgp_keys'].filter((field) =>
    isMeant(params[field]),
  )
  if (foreign.length > 0) {
    throw new CoreError(
      'CORE_INVALID_REQUEST',
      `parameters ${foreign.join(',')} not applicable to seal type ${sealType}`,
    )
  }
  for (const field of ['pgp_keys', 'root_token_pgp_key', 'recovery_pgp_keys']) {
    if (isGiven(params[field])) {
      throw new CoreError('CORE_INVALID_REQUEST', `${field}: PGP-encrypted shares are not supported`)
    }
  }
  const shares = wholeNumber(params, `${kind}_shares`, 5)
  const threshold = wholeNumber(params, `${kind}_threshold`, Math.min(3, shares))
  checkShares(kind, shares, threshold)
  return { shares, threshold }
}

/** Clients send what they do not mean as zero, empty or null. */
function isGiven(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0) return false
  return !(Array.isArray(value) && value.length === 0)
}

/** A single share is what clients send that do not know the kind of seal. */
function isMeant(value: unknown): boolean {
  return isGiven(value) && value !== 1
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

/**
 * Makes and stores keyring and seal, all but the record `sealKeys.config`: with that the cluster counts as initialised, so the caller
 * writes `config` last.
 */
export async function prepareStorage(
  records: Store,
  params: InitializeParams,
  autoSeal: AutoSeal | undefined,
): Promise<Initialized & { config: Uint8Array }> {
  const keyring = createKeyring()
  const { operatorKey, parts } = newOperatorKey(params.shares, params.threshold)
  const rootKey = keyring.rootKey()
  const seal = await adoptSeal(rootKey, operatorKey, autoSeal)
  rootKey.fill(0)
  await transact(records, async (transaction) => {
    for (const [key, value] of seal) if (key !== sealKeys.config) await transaction.put(key, value)
    await transaction.put(sealKeys.keyring, keyring.encrypt())
  })
  return { keyring, operatorKey, parts, config: seal.get(sealKeys.config)! }
}

export function shareTexts(parts: readonly Uint8Array[]): { hex: string[]; base64: string[] } {
  if (parts.some((part) => part.length < KEY_BYTES)) throw new RangeError('a share is too short')
  return {
    hex: parts.map((part) => Buffer.from(part).toString('hex')),
    base64: parts.map((part) => Buffer.from(part).toString('base64')),
  }
}
