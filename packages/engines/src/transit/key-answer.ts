import type { BackendResponse } from '@lockstep/backend'
import { publicKeyText, supports, traitsOf } from './key-type.ts'
import type { TransitKey } from './transit-key.ts'

/** A key as clients see it. `context` shows the public keys of a derived ed25519 key. */
export function keyAnswer(key: TransitKey, context?: Buffer): BackendResponse {
  const { settings } = key
  const can = supports(settings.type)
  const data: Record<string, unknown> = {
    name: settings.name,
    type: settings.type,
    deletion_allowed: settings.deletionAllowed,
    derived: settings.derived,
    exportable: settings.exportable,
    allow_plaintext_backup: settings.plaintextBackup,
    auto_rotate_period: settings.autoRotatePeriod,
    imported_key: false,
    latest_version: settings.latest,
    min_available_version: settings.minAvailable,
    min_decryption_version: settings.minDecryption,
    min_encryption_version: settings.minEncryption,
    supports_encryption: can.encryption,
    supports_decryption: can.encryption,
    supports_derivation: can.derivation,
    supports_signing: can.signing,
  }
  if (settings.backup !== undefined) data.backup_info = settings.backup
  if (settings.restore !== undefined) data.restore_info = settings.restore
  if (settings.keySize > 0) data.key_size = settings.keySize
  if (settings.derived) {
    data.kdf = 'hkdf_sha256'
    data.convergent_encryption = settings.convergent
    if (settings.convergent) data.convergent_encryption_version = -1
  }
  if (settings.type !== 'hmac') data.keys = versions(key, context)
  return { data }
}

function versions(key: TransitKey, context: Buffer | undefined): Record<string, unknown> {
  const { type, derived } = key.settings
  const { aead, curve } = traitsOf(type)
  const shown: Record<string, unknown> = {}
  for (const version of key.versions.values()) {
    if (aead !== undefined) shown[version.number] = Math.floor(version.created / 1000)
    else {
      const hidden = derived && context === undefined
      shown[version.number] = {
        name: curve?.jwk ?? type,
        creation_time: new Date(version.created).toISOString(),
        public_key: hidden ? '' : publicKeyText(version.privateKey(derived ? context : undefined)),
        certificate_chain: '',
      }
    }
  }
  return shown
}
