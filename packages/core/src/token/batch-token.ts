/** Batch tokens: `hvb.` and the sealed record in base64url. Nothing is stored; whoever holds the keyring can open them. */
import type { TokenEntry } from '../contracts.ts'
import { decodeToken, encodeToken } from './token-record.ts'

export const BATCH_PREFIX = 'hvb.'
const LONGEST = 16 * 1024

export interface BatchTokens {
  mint(entry: Omit<TokenEntry, 'id'>): string
  /** undefined for anything this keyring did not seal. */
  open(id: string): TokenEntry | undefined
}

/**
 * @param seal authenticated encryption under the barrier's keyring, with a purpose of its own
 * @param open its inverse; undefined, or throwing, when the bytes are not authentic
 */
export function batchTokens(
  seal: (plaintext: Uint8Array) => Uint8Array,
  open: (sealed: Uint8Array) => Uint8Array | undefined,
): BatchTokens {
  return {
    mint(entry) {
      const sealed = seal(encodeToken({ ...entry, id: '' }))
      return BATCH_PREFIX + Buffer.from(sealed).toString('base64url')
    },
    open(id) {
      if (id.length > LONGEST || !/^[A-Za-z0-9_-]+$/.test(id.slice(BATCH_PREFIX.length))) return undefined
      const plaintext = opened(open, Buffer.from(id.slice(BATCH_PREFIX.length), 'base64url'))
      return plaintext && { ...decodeToken(plaintext, id), accessor: '', cubbyholeId: '' }
    },
  }
}

function opened(open: (sealed: Uint8Array) => Uint8Array | undefined, sealed: Uint8Array): Uint8Array | undefined {
  try {
    return open(sealed)
  } catch {
    // Forged, cut short, or from another cluster: all alike to the client.
    return undefined
  }
}
