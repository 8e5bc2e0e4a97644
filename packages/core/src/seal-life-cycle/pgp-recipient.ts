/** Someone with a PGP key, to whom alone something is told. */
import { CoreError } from '../contracts.ts'

export interface PgpRecipient {
  /** 40 hex digits (or 64, of a version 6 key). */
  readonly fingerprint: string
  /** Base64 of the binary PGP message. */
  encrypt(text: string): Promise<string>
}

const MAX_KEY_LENGTH = 64 * 1024

/** `text` is base64 of a binary public key, as Vault's clients send it. Rejects with CORE_INVALID_REQUEST naming the field. */
export async function pgpRecipient(text: string, field = 'pgp_key'): Promise<PgpRecipient> {
  const bad = (why: string, cause?: unknown): CoreError =>
    new CoreError('CORE_INVALID_REQUEST', `${field}: ${why}`, { cause })
  const compact = text.replace(/\s+/g, '')
  if (compact.length > MAX_KEY_LENGTH || !/^[A-Za-z0-9+/]+={0,2}$/.test(compact)) {
    throw bad('expected base64 of a binary PGP public key')
  }
  // Loaded on first use: a large module for something rare.
  const { createMessage, encrypt, readKey } = await import('openpgp')
  const key = await readKey({ binaryKey: Buffer.from(compact, 'base64') }).catch((cause: unknown) => {
    throw bad('it is not a PGP key', cause)
  })
  if (key.isPrivate()) throw bad('it is a private key; only the public half is to be sent')
  await key.getEncryptionKey().catch((cause: unknown) => {
    throw bad('nothing can be encrypted to it: it has no valid encryption key, has expired or was revoked', cause)
  })
  return {
    fingerprint: key.getFingerprint(),
    async encrypt(plain) {
      const message = await encrypt({
        message: await createMessage({ binary: Buffer.from(plain, 'utf8') }),
        encryptionKeys: key,
        format: 'binary',
      })
      return Buffer.from(message as Uint8Array).toString('base64')
    },
  }
}
