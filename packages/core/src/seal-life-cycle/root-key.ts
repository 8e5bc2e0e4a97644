/** Where the root key is kept: under a key that operators hold shares of, or under an auto seal. */
import { randomBytes } from 'node:crypto'
import { nodeAead } from '@lockstep/barrier'
import { type AutoSeal, SealError } from '@lockstep/seal'
import { CoreError } from '../contracts.ts'
import { KEY_BYTES, sealKeys } from './seal-config.ts'

const NONCE_BYTES = 12
const context = new TextEncoder().encode(sealKeys.rootKey)

/** nonce ‖ AES-256-GCM(kek, root key), bound to the record's name. */
export function sealRootKey(kek: Uint8Array, rootKey: Uint8Array): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  return Buffer.concat([nonce, nodeAead().seal(kek, nonce, rootKey, context)])
}

/** Rejects with CORE_INVALID_REQUEST when `kek` is not the right key; a wrong length looks the same. */
export function openRootKey(kek: Uint8Array, sealed: Uint8Array): Uint8Array {
  try {
    if (kek.length !== KEY_BYTES) throw new Error('wrong length')
    return nodeAead().open(kek, sealed.subarray(0, NONCE_BYTES), sealed.subarray(NONCE_BYTES), context)
  } catch {
    throw new CoreError('CORE_INVALID_REQUEST', 'unseal failed, invalid key')
  }
}

/** Opens the root key through the auto seal; errors name the seal, never key material. */
export async function openRootKeyByAutoSeal(seal: AutoSeal, sealed: Uint8Array): Promise<Uint8Array> {
  try {
    return await seal.decrypt(sealed)
  } catch (cause) {
    const why = cause instanceof SealError || cause instanceof CoreError ? cause.message : 'it gave an error'
    throw new CoreError('CORE_UNAVAILABLE', `the auto seal could not open the stored root key: ${why}`, { cause })
  }
}
