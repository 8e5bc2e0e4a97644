import { sha256Parts } from '../sha256.ts'
import type { Cursor } from '../types.ts'

export const DIGEST_BYTES = 32

const GENESIS = new TextEncoder().encode('lockstep wal genesis v1\n')
const RECORD = new TextEncoder().encode('lockstep wal record v1\n')
const CHAIN = new TextEncoder().encode('lockstep wal chain v1\n')

/**
 * The place before the first record. `logId` (random, stored with the log) keeps two clusters' empty histories apart.
 */
export function genesisCursor(logId: Uint8Array = new Uint8Array(0), epoch = 1): Cursor {
  return { epoch, index: 0, digest: sha256Parts(GENESIS, logId) }
}

/** Digest of the log up to and with the record: SHA-256(label ‖ previous ‖ SHA-256(label ‖ record bytes)). */
export function nextDigest(previous: Uint8Array, recordBytes: Uint8Array): Uint8Array {
  return sha256Parts(CHAIN, previous, sha256Parts(RECORD, recordBytes))
}

export function sameDigest(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

export function sameCursor(a: Cursor, b: Cursor): boolean {
  return a.epoch === b.epoch && a.index === b.index && sameDigest(a.digest, b.digest)
}
