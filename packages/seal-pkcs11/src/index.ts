export { type Pkcs11Seal, type Pkcs11SealOptions, pkcs11Seal } from './pkcs11-seal.ts'
