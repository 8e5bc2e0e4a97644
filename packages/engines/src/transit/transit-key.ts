import { BackendError } from '@lockstep/backend'
import type { KeyType } from './key-type.ts'
import type { KeyVersion } from './key-version.ts'

/** The stored settings of a key, JSON under `policy/<name>`. */
export interface KeySettings {
  name: string
  type: KeyType
  /** Bytes, hmac only, else 0. */
  keySize: number
  derived: boolean
  convergent: boolean
  exportable: boolean
  plaintextBackup: boolean
  /** Seconds, 0 = never. */
  autoRotatePeriod: number
  deletionAllowed: boolean
  latest: number
  minDecryption: number
  /** 0 = the latest only by default, any by request. */
  minEncryption: number
  /** Versions below are destroyed; 0 = none was. */
  minAvailable: number
  backup?: { time: string; version: number }
  restore?: { time: string; version: number }
}

/** A key ready for use. Cached: never changed, replaced. */
export interface TransitKey {
  readonly settings: Readonly<KeySettings>
  /** Versions from `minDecryption` to `latest`. */
  readonly versions: ReadonlyMap<number, KeyVersion>
}

/** The version to encrypt or sign with. `requested` 0 = latest. */
export function versionToUse(key: TransitKey, requested: number, purpose: 'encryption' | 'signing'): KeyVersion {
  const { latest, minEncryption } = key.settings
  if (requested < 0) refuse(`requested version for ${purpose} is negative`)
  if (requested > latest) refuse(`requested version for ${purpose} is higher than the latest key version`)
  if (requested !== 0 && requested < minEncryption) {
    refuse(`requested version for ${purpose} is less than the minimum encryption key version`)
  }
  return key.versions.get(requested || latest) ?? refuse('no such key version')
}

/** The version that made a ciphertext, signature or HMAC. */
export function versionThatMade(key: TransitKey, number: number, what: string): KeyVersion {
  // Vault's very first format began at 0.
  const version = number === 0 && what === 'ciphertext' ? 1 : number
  if (version > key.settings.latest) refuse(`invalid ${what}: version is too new`)
  if (version < key.settings.minDecryption) {
    refuse('ciphertext or signature version is disallowed by policy (too old)')
  }
  return key.versions.get(version) ?? refuse('no such key version')
}

/** The key-derivation context a request must carry, or undefined for keys that are not derived. */
export function contextFor(key: TransitKey, context: Buffer | undefined): Buffer | undefined {
  if (!key.settings.derived) return undefined
  if (context !== undefined && context.length > 0) return context
  return refuse(
    "missing 'context' for key derivation; the key was created using a derived key, which means additional, " +
      'per-request information must be included in order to perform operations with the key',
  )
}

export function refuse(message: string): never {
  throw new BackendError('BACKEND_INVALID_REQUEST', message)
}
