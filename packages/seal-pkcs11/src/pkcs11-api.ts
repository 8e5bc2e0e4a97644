/** What of PKCS#11 is used, as `pkcs11js` gives it: declared here so that the package builds and tests without the native module. */
export type Handle = Buffer

export interface Mechanism {
  mechanism: number
  parameter: { type: number; iv: Buffer; aad: Buffer; ivBits: number; tagBits: number } | null
}

export type Attribute = { type: number; value: number | boolean | string | Buffer }

export interface Pkcs11Module {
  load(path: string): void
  close(): void
  C_Initialize(options?: { flags: number }): void
  C_Finalize(): void
  C_GetSlotList(tokenPresent: boolean): Handle[]
  C_GetTokenInfo(slot: Handle): { label: string; flags: number }
  C_OpenSession(slot: Handle, flags: number): Handle
  C_CloseSession(session: Handle): void
  C_Login(session: Handle, userType: number, pin: string): void
  C_FindObjectsInit(session: Handle, template: Attribute[]): void
  C_FindObjects(session: Handle, max: number): Handle[]
  C_FindObjectsFinal(session: Handle): void
  C_GenerateKey(session: Handle, mechanism: { mechanism: number }, template: Attribute[]): Handle
  C_EncryptInit(session: Handle, mechanism: Mechanism, key: Handle): void
  C_EncryptAsync(session: Handle, input: Buffer, output: Buffer): Promise<Buffer>
  C_DecryptInit(session: Handle, mechanism: Mechanism, key: Handle): void
  C_DecryptAsync(session: Handle, input: Buffer, output: Buffer): Promise<Buffer>
}
