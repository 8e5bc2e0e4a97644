export { type Aead, KEY_BYTES, NONCE_BYTES, TAG_BYTES } from './aead.ts'
export { type EncryptedStoreOptions, encryptedStore } from './encrypted-store.ts'
export { BarrierError, type BarrierErrorCode } from './errors.ts'
export {
  createKeyring,
  deserializeKeyring,
  KEYRING_PATH,
  type Keyring,
  type KeyringOptions,
  MAX_ENCRYPTIONS_PER_KEY,
  openKeyring,
  type Term,
} from './keyring.ts'
export { DEFAULT_ROTATION, type RotationConfig } from './keyring-format.ts'
export { nobleAead } from './noble-aead.ts'
export { nodeAead } from './node-aead.ts'
export { openRecord, RECORD_OVERHEAD, type RecordKey, recordTerm, sealRecord } from './record.ts'
