export type { AutoSeal } from './auto-seal.ts'
export { SealError, type SealErrorCode } from './errors.ts'
export { checkShareConfig, combineKey, type RekeyInput, rekey, type ShareConfig, splitKey } from './key-shares.ts'
export {
  type SealAfterReplication,
  type SealKind,
  type ShareSource,
  sealAfterReplication,
} from './replication-seal.ts'
export { combine, split } from './shamir.ts'
export { type StaticKeySeal, type StaticKeySealOptions, staticKeySeal } from './static-key-seal.ts'
