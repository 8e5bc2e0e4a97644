/**
 * The operators' key, kept behind the barrier as well (Vault keeps `core/shamir-kek` there) and replicated: by it the shares of a
 * rekeyed primary become the shares of its secondaries, and a standby that takes over knows the key of today. Whoever can open the
 * barrier needs no shares, so it tells them nothing.
 */
import { timingSafeEqual } from 'node:crypto'
import { CoreError } from '../contracts.ts'
import { KEY_BYTES, sealKeys } from './seal-config.ts'
import type { OperatorKey } from './seal-material.ts'

export function encodeOperatorKey({ key, shares, threshold }: OperatorKey): Uint8Array {
  const encoded = new Uint8Array(2 + key.length)
  encoded.set([shares, threshold])
  encoded.set(key, 2)
  return encoded
}

/** Takes over the bytes of `record`. Throws CORE_INTERNAL naming the record when it is malformed. */
export function decodeOperatorKey(record: Uint8Array): OperatorKey {
  const [shares = 0, threshold = 0] = record
  if (record.length !== 2 + KEY_BYTES || shares < 1 || threshold < 1 || threshold > shares) {
    throw new CoreError('CORE_INTERNAL', `stored record ${sealKeys.operatorKey} is malformed`)
  }
  return { key: record.subarray(2), shares, threshold }
}

/** Keys are compared in constant time. */
export function isSameOperatorKey(one: OperatorKey, other: OperatorKey): boolean {
  if (one.shares !== other.shares || one.threshold !== other.threshold) return false
  return one.key.length === other.key.length && timingSafeEqual(one.key, other.key)
}
