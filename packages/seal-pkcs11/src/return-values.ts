/** PKCS#11 return values, by what is to be done about them. */
import { SealError } from '@lockstep/seal'

/** The numbers of the standard. */
const CKR = {
  HOST_MEMORY: 0x02,
  GENERAL_ERROR: 0x05,
  FUNCTION_FAILED: 0x06,
  DEVICE_ERROR: 0x30,
  DEVICE_MEMORY: 0x31,
  DEVICE_REMOVED: 0x32,
  ENCRYPTED_DATA_INVALID: 0x40,
  ENCRYPTED_DATA_LEN_RANGE: 0x41,
  AEAD_DECRYPT_FAILED: 0x42,
  KEY_HANDLE_INVALID: 0x60,
  OBJECT_HANDLE_INVALID: 0x82,
  PIN_INCORRECT: 0xa0,
  PIN_INVALID: 0xa1,
  PIN_LEN_RANGE: 0xa2,
  PIN_EXPIRED: 0xa3,
  PIN_LOCKED: 0xa4,
  USER_ALREADY_LOGGED_IN: 0x100,
  USER_PIN_NOT_INITIALIZED: 0x102,
  CRYPTOKI_ALREADY_INITIALIZED: 0x191,
} as const

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null)?.code
const isOneOf =
  (...codes: number[]) =>
  (error: unknown): boolean =>
    codes.includes(codeOf(error) as number)

export const isInitializedAlready = isOneOf(CKR.CRYPTOKI_ALREADY_INITIALIZED)
export const isLoggedInAlready = isOneOf(CKR.USER_ALREADY_LOGGED_IN)

/** Tried again, a token counts wrong PINs and locks itself. */
export const isPinRefused = isOneOf(
  ...[CKR.PIN_INCORRECT, CKR.PIN_INVALID, CKR.PIN_LEN_RANGE, CKR.PIN_EXPIRED, CKR.PIN_LOCKED],
  CKR.USER_PIN_NOT_INITIALIZED,
)

/** The ciphertext is not what the key made. */
export const isDamaged = isOneOf(CKR.ENCRYPTED_DATA_INVALID, CKR.ENCRYPTED_DATA_LEN_RANGE, CKR.AEAD_DECRYPT_FAILED)

/** Some libraries answer so to a wrong tag too, and others when the device is in trouble. */
export const isVague = isOneOf(CKR.GENERAL_ERROR, CKR.FUNCTION_FAILED)

/** The error's name in the standard, for instance `CKR_DEVICE_REMOVED`; never anything that was handed to the library. */
export function returnValueName(error: unknown): string {
  const { message } = error as { message?: unknown }
  const name = typeof message === 'string' ? /^CKR_[A-Z0-9_]{1,60}/.exec(message)?.[0] : undefined
  if (name !== undefined) return name
  const code = codeOf(error)
  return typeof code === 'number' ? `return value 0x${code.toString(16)}` : 'an error that is not of PKCS#11'
}

export function unavailable(what: string, error: unknown): SealError {
  if (error instanceof SealError) return error
  return new SealError('SEAL_UNAVAILABLE', `${what}: ${returnValueName(error)}`)
}
