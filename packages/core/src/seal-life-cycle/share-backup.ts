/**
 * Copies of PGP-encrypted shares, kept for holders who lose theirs. Stored beside the barrier, as nobody but the holders can open
 * them, and so that they can be fetched from the storage of a cluster that nobody can unseal any more.
 */
import { CoreError } from '../contracts.ts'
import type { HandedOut } from './hand-out.ts'

export type RekeyTarget = 'barrier' | 'recovery'

export interface ShareBackup {
  /** Of the rekey that made them. */
  nonce: string
  /** PGP messages in hex, by the fingerprint of the key they are encrypted to. */
  keys: Record<string, string[]>
}

/** Class `ignored`: each cluster has its own. */
export const backupKeys: Readonly<Record<RekeyTarget, string>> = {
  barrier: 'core/unseal-keys-backup',
  recovery: 'core/recovery-keys-backup',
}

export function encodeBackup(nonce: string, { hex, fingerprints = [] }: HandedOut): Uint8Array {
  const keys: ShareBackup['keys'] = {}
  for (const [index, fingerprint] of fingerprints.entries()) {
    keys[fingerprint] = [...(keys[fingerprint] ?? []), hex[index]!]
  }
  return new TextEncoder().encode(JSON.stringify({ nonce, keys } satisfies ShareBackup))
}

/** Rejects with CORE_INTERNAL naming the record when it is malformed. */
export function decodeBackup(key: string, record: Uint8Array): ShareBackup {
  const malformed = (cause?: unknown): CoreError =>
    new CoreError('CORE_INTERNAL', `stored record ${key} is not a backup of key shares`, { cause })
  let parsed: Partial<ShareBackup> | null
  try {
    parsed = JSON.parse(new TextDecoder().decode(record)) as Partial<ShareBackup> | null
  } catch (cause) {
    throw malformed(cause)
  }
  const { nonce, keys } = parsed ?? {}
  if (typeof nonce !== 'string' || typeof keys !== 'object' || keys === null) throw malformed()
  const isHex = (text: unknown): boolean => typeof text === 'string' && /^(?:[0-9a-f]{2})*$/.test(text)
  if (!Object.values(keys).every((messages) => Array.isArray(messages) && messages.every(isHex))) throw malformed()
  return { nonce, keys }
}

/** What sys/rekey/backup answers. */
export function backupAnswer({ nonce, keys }: ShareBackup): Record<string, unknown> {
  const base64 = Object.entries(keys).map(([fingerprint, messages]) => [
    fingerprint,
    messages.map((message) => Buffer.from(message, 'hex').toString('base64')),
  ])
  return { nonce, keys, keys_base64: Object.fromEntries(base64) }
}
