/**
 * What is stored, in clear or under the seal, so that a sealed node can be opened. All of it is class `ignored`: a
 * secondary keeps its own seal (seed text, "Seals"); only `core/keyring`, wrapped by the root key, and the operators' key are replicated.
 */
import { checkShareConfig } from '@lockstep/seal'
import type { Reader } from '@lockstep/storage'
import { CoreError } from '../contracts.ts'

export const sealKeys = {
  /** Plain JSON: how the barrier is sealed. */
  config: 'core/seal-config',
  /** Root key, sealed by the key-encryption key (Shamir) or the auto seal. */
  rootKey: 'core/hsm/barrier-unseal-keys',
  /** Auto seal only. Plain JSON: how the recovery key is split. */
  recoveryConfig: 'core/recovery-config',
  /** Auto seal only. Recovery key, sealed by the auto seal. */
  recoveryKey: 'core/recovery-key',
  /** Keyring, sealed by the root key. */
  keyring: 'core/keyring',
  /** Behind the barrier, and replicated: see operator-key-record.ts. */
  operatorKey: 'core/operator-key',
} as const

/** Every sealed or split key here is 32 bytes. */
export const KEY_BYTES = 32

export interface SealConfig {
  /** `shamir`, or the auto seal's type. */
  type: string
  secret_shares: number
  secret_threshold: number
  /** How often the seal has been migrated; a node that was unsealed before the last time does not lead with what it knew. Absent: 0. */
  generation?: number
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

export function encodeSealConfig(config: SealConfig): Uint8Array {
  const { type, secret_shares, secret_threshold, generation = 0 } = config
  return encoder.encode(
    JSON.stringify({ type, secret_shares, secret_threshold, ...(generation > 0 && { generation }) }),
  )
}

/** Rejects with CORE_INTERNAL naming the record and the field when the stored record is malformed. */
export function decodeSealConfig(key: string, bytes: Uint8Array): SealConfig {
  let parsed: unknown
  try {
    parsed = JSON.parse(decoder.decode(bytes))
  } catch (cause) {
    throw new CoreError('CORE_INTERNAL', `stored record ${key} is not JSON`, { cause })
  }
  const config = parsed as Partial<SealConfig> | null
  if (typeof config?.type !== 'string') throw new CoreError('CORE_INTERNAL', `stored record ${key}: type is missing`)
  const { secret_shares: shares, secret_threshold: threshold } = config
  if (!isShareCount(shares) || !isShareCount(threshold) || threshold > shares) {
    throw new CoreError('CORE_INTERNAL', `stored record ${key}: secret_shares or secret_threshold is out of range`)
  }
  const { generation = 0 } = config
  if (!Number.isSafeInteger(generation) || generation < 0) {
    throw new CoreError('CORE_INTERNAL', `stored record ${key}: generation is out of range`)
  }
  return { type: config.type, secret_shares: shares, secret_threshold: threshold, generation }
}

export async function readSealConfig(records: Pick<Reader, 'get'>, key: string): Promise<SealConfig | undefined> {
  const bytes = await records.get(key)
  return bytes && decodeSealConfig(key, bytes)
}

function isShareCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 255
}

/** Checks a client's share counts; the texts are Vault's. */
export function checkShares(kind: 'seal' | 'rekey seal' | 'recovery', shares: number, threshold: number): void {
  try {
    checkShareConfig({ secretShares: shares, secretThreshold: threshold })
  } catch (error) {
    throw new CoreError('CORE_INVALID_REQUEST', `invalid ${kind} configuration: ${(error as Error).message}`)
  }
}
