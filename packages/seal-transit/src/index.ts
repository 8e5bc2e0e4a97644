export type { RenewalOptions } from './token-renewal.ts'
export { type SealLog, type TransitSeal, type TransitSealOptions, transitSeal } from './transit-seal.ts'
export type { TlsOptions } from './vault-connection.ts'
