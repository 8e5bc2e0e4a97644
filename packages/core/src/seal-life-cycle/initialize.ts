/** `sys/init`: makes the keyring and the operators' shares. */
import { createKeyring, type Keyring } from '@lockstep/barrier'
import type { AutoSeal } from '@lockstep/seal'
import type { Store } from '@lockstep/storage'
import { transact } from '@lockstep/storage'
import { CoreError } from '../contracts.ts'
import { shareRecipients } from './hand-out.ts'
import type { ShareCounts } from './key-shares.ts'
import { encodeOperatorKey } from './operator-key-record.ts'
import { type PgpRecipient, pgpRecipient } from './pgp-recipient.ts'
import { invalidRequest } from './request-error.ts'
import { checkShares, sealKeys } from './seal-config.ts'
import { adoptSeal, newOperatorKey, type OperatorKey } from './seal-material.ts'

export interface InitializeParams extends ShareCounts {
  /** Whom the shares are encrypted to, one for each. */
  recipients?: PgpRecipient[] | undefined
  tokenRecipient?: PgpRecipient | undefined
}

/** Field by field, with Vault's defaults (5 shares, 3 needed) and its error texts. */
export async function parseInitialize(params: Record<string, unknown>, sealType: string): Promise<InitializeParams> {
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
  const shares = wholeNumber(params, `${kind}_shares`, 5)
  const threshold = wholeNumber(params, `${kind}_threshold`, Math.min(3, shares))
  checkShares(auto ? 'recovery' : 'seal', shares, threshold)
  const field = auto ? 'recovery_pgp_keys' : 'pgp_keys'
  const recipients = await shareRecipients(field, params[field])
  if (recipients !== undefined && recipients.length !== shares) {
    throw invalidRequest(`${field}: count mismatch between number of provided PGP keys and number of shares`)
  }
  return { shares, threshold, recipients, tokenRecipient: await tokenRecipient(params.root_token_pgp_key) }
}

async function tokenRecipient(value: unknown): Promise<PgpRecipient | undefined> {
  if (!isGiven(value)) return undefined
  if (typeof value !== 'string') throw invalidRequest('root_token_pgp_key: expected a PGP public key in base64')
  return pgpRecipient(value, 'root_token_pgp_key')
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
  const told = encodeOperatorKey(operatorKey)
  const toldRecord = keyring.seal(sealKeys.operatorKey, told)
  told.fill(0)
  await transact(records, async (transaction) => {
    for (const [key, value] of seal) if (key !== sealKeys.config) await transaction.put(key, value)
    await transaction.put(sealKeys.keyring, keyring.encrypt())
    await transaction.put(sealKeys.operatorKey, toldRecord)
  })
  return { keyring, operatorKey, parts, config: seal.get(sealKeys.config)! }
}
