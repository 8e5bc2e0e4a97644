/**
 * What a primary answers to the `bootstrap` request of a freshly activated secondary, over mutual TLS: the keyring and the
 * key that operators hold shares of. The seal itself is never handed over.
 */
import type { Plain } from '@lockstep/replication'
import { CoreError } from '../../contracts.ts'
import type { OperatorKey } from '../../seal-life-cycle/seal-material.ts'
import { MAX_RECEIPTS, type PromotionReceipt, parseReceipt } from '../promotion/receipts.ts'

export const BOOTSTRAP = 'bootstrap'

export interface BootstrapReply {
  clusterId: string
  /** `Keyring.serialize()`: every term and the root key. */
  keyring: Uint8Array
  operatorKey: OperatorKey
  /** The promotions this set has seen, as far as the primary knows them. None from a primary that does not tell. */
  promotions: PromotionReceipt[]
}

export function encodeBootstrapReply(reply: BootstrapReply): Plain {
  const { key, shares, threshold } = reply.operatorKey
  const promotions = reply.promotions.map((receipt) => JSON.stringify(receipt))
  return { clusterId: reply.clusterId, keyring: reply.keyring, operatorKey: key, shares, threshold, promotions }
}

/** Rejects with CORE_INVALID_REQUEST naming the field. */
export function parseBootstrapReply(body: unknown): BootstrapReply {
  const reply = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>
  const bad = (field: string, expected: string): CoreError =>
    new CoreError('CORE_INVALID_REQUEST', `error fetching secondary bootstrap package: ${field}: expected ${expected}`)
  const { clusterId, keyring, operatorKey, shares, threshold, promotions } = reply
  if (typeof clusterId !== 'string' || clusterId === '') throw bad('clusterId', 'a non-empty string')
  if (!(keyring instanceof Uint8Array) || keyring.length === 0) throw bad('keyring', 'bytes')
  if (!(operatorKey instanceof Uint8Array) || operatorKey.length !== 32) throw bad('operatorKey', '32 bytes')
  if (!isCount(shares)) throw bad('shares', '1 to 255')
  if (!isCount(threshold) || threshold > shares) throw bad('threshold', 'at most shares')
  const told = promotions === undefined ? [] : parsePromotions(promotions)
  if (told === undefined) throw bad('promotions', `at most ${MAX_RECEIPTS} receipts`)
  return { clusterId, keyring, operatorKey: { key: operatorKey, shares, threshold }, promotions: told }
}

/** Undefined for anything but a list of receipts. */
function parsePromotions(value: unknown): PromotionReceipt[] | undefined {
  if (!Array.isArray(value) || value.length > MAX_RECEIPTS) return undefined
  const receipts: PromotionReceipt[] = []
  for (const text of value) {
    const receipt = typeof text === 'string' ? parseReceipt(text) : undefined
    if (receipt === undefined) return undefined
    receipts.push({ ...receipt, inherited: true })
  }
  return receipts
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 255
}
