/** New key shares as they leave the server: in clear, or each encrypted to the PGP key of its holder. */
import { type PgpRecipient, pgpRecipient } from './pgp-recipient.ts'
import { invalidRequest } from './request-error.ts'
import { KEY_BYTES } from './seal-config.ts'

export interface HandedOut {
  hex: string[]
  base64: string[]
  /** Of the holders' keys, in the order of the shares; undefined for shares in clear. */
  fingerprints: string[] | undefined
}

const MAX_RECIPIENTS = 255

/**
 * `value` is a list of PGP keys, one for each share. Undefined when it is absent or empty. Rejects with CORE_INVALID_REQUEST naming
 * `field`.
 */
export async function shareRecipients(field: string, value: unknown): Promise<PgpRecipient[] | undefined> {
  if (value === undefined || value === null || value === '') return undefined
  if (!Array.isArray(value) || value.some((key) => typeof key !== 'string')) {
    throw invalidRequest(`${field}: expected a list of PGP public keys in base64`)
  }
  if (value.length === 0) return undefined
  if (value.length > MAX_RECIPIENTS) throw invalidRequest(`${field}: at most ${MAX_RECIPIENTS} keys`)
  return Promise.all(value.map((key: string) => pgpRecipient(key, field)))
}

/** An encrypted share is the hex form of it, as Vault's clients expect to find after decryption. */
export async function handOut(
  parts: readonly Uint8Array[],
  recipients: readonly PgpRecipient[] | undefined,
): Promise<HandedOut> {
  if (parts.some((part) => part.length < KEY_BYTES)) throw new RangeError('a share is too short')
  if (recipients === undefined) return { ...texts(parts), fingerprints: undefined }
  if (recipients.length !== parts.length) throw new RangeError('as many recipients as shares are needed')
  const encrypted = await Promise.all(
    recipients.map(async ({ encrypt }, index) => {
      const message = await encrypt(Buffer.from(parts[index]!).toString('hex'))
      return Buffer.from(message, 'base64')
    }),
  )
  return { ...texts(encrypted), fingerprints: recipients.map(({ fingerprint }) => fingerprint) }
}

function texts(parts: readonly Uint8Array[]): { hex: string[]; base64: string[] } {
  const bytes = parts.map((part) => Buffer.from(part))
  return { hex: bytes.map((part) => part.toString('hex')), base64: bytes.map((part) => part.toString('base64')) }
}
