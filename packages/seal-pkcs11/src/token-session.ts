/** A session with the token, logged in, and the keys found through it. */
import { SealError } from '@lockstep/seal'
import type { KeyName } from './envelope.ts'
import { keyText } from './envelope.ts'
import type { Library } from './library.ts'
import type { Attribute, Handle } from './pkcs11-api.ts'
import { isLoggedInAlready, unavailable } from './return-values.ts'

export interface TokenOptions {
  /** Slot number, or the label of the token in it, or both. */
  slot: bigint | undefined
  tokenLabel: string | undefined
  pin: string
}

export interface TokenSession {
  readonly handle: Handle
  /** Undefined when the token has none. Throws `SEAL_INVALID_CONFIG` when it has several. */
  findKey(name: KeyName): Handle | undefined
  /** A new AES-256 key that stays in the token and cannot be read. */
  generateKey(name: KeyName): Handle
  close(): void
}

const CKF_RW_SESSION = 2
const CKF_SERIAL_SESSION = 4
const CKU_USER = 1
const CKM_AES_KEY_GEN = 0x1080
const CKA = {
  CLASS: 0x000,
  TOKEN: 0x001,
  PRIVATE: 0x002,
  LABEL: 0x003,
  KEY_TYPE: 0x100,
  ID: 0x102,
  SENSITIVE: 0x103,
  ENCRYPT: 0x104,
  DECRYPT: 0x105,
  WRAP: 0x106,
  UNWRAP: 0x107,
  VALUE_LEN: 0x161,
  EXTRACTABLE: 0x162,
} as const
const CKO_SECRET_KEY = 4
const CKK_AES = 0x1f

/** Throws what the library throws, or `SEAL_UNAVAILABLE` when there is no such token. */
export function openTokenSession(library: Library, options: TokenOptions, writable: boolean): TokenSession {
  const { module } = library
  const slot = findSlot(library, options)
  const handle = library.openSession(slot, CKF_SERIAL_SESSION | (writable ? CKF_RW_SESSION : 0))
  try {
    module.C_Login(handle, CKU_USER, options.pin)
  } catch (error) {
    // Logging in counts for all sessions of the process with this token.
    if (!isLoggedInAlready(error)) {
      library.closeSession(handle)
      throw error
    }
  }
  const found = new Map<string, Handle>()
  const template = (name: KeyName): Attribute[] => [
    { type: CKA.CLASS, value: CKO_SECRET_KEY },
    { type: CKA.KEY_TYPE, value: CKK_AES },
    ...(name.label === '' ? [] : [{ type: CKA.LABEL, value: name.label }]),
    ...(name.id.length === 0 ? [] : [{ type: CKA.ID, value: name.id }]),
  ]
  return {
    handle,
    findKey(name) {
      const known = found.get(keyText(name))
      if (known !== undefined) return known
      module.C_FindObjectsInit(handle, template(name))
      let keys: Handle[]
      try {
        keys = module.C_FindObjects(handle, 2).map((key) => Buffer.from(key))
      } finally {
        module.C_FindObjectsFinal(handle)
      }
      if (keys.length > 1) {
        const text = `the token has several AES keys ${keyText(name)}: give key_label and key_id of one`
        throw new SealError('SEAL_INVALID_CONFIG', text)
      }
      const [key] = keys
      if (key !== undefined) found.set(keyText(name), key)
      return key
    },
    generateKey(name) {
      const key = module.C_GenerateKey(handle, { mechanism: CKM_AES_KEY_GEN }, [
        ...template(name),
        { type: CKA.VALUE_LEN, value: 32 },
        { type: CKA.TOKEN, value: true },
        { type: CKA.PRIVATE, value: true },
        { type: CKA.SENSITIVE, value: true },
        { type: CKA.EXTRACTABLE, value: false },
        { type: CKA.ENCRYPT, value: true },
        { type: CKA.DECRYPT, value: true },
        { type: CKA.WRAP, value: false },
        { type: CKA.UNWRAP, value: false },
      ])
      return Buffer.from(key)
    },
    close: () => library.closeSession(handle),
  }
}

function findSlot(library: Library, options: TokenOptions): Handle {
  const find = (): Handle | undefined =>
    library.module.C_GetSlotList(true).find((slot) => matches(library, slot, options))
  let slot = library.usable ? find() : undefined
  if (slot === undefined) {
    library.refresh()
    slot = find()
  }
  if (slot !== undefined) return slot
  const { tokenLabel, slot: number } = options
  const which = tokenLabel === undefined ? `in slot ${number}` : `with label ${tokenLabel}`
  throw new SealError('SEAL_UNAVAILABLE', `there is no token ${which}`)
}

function matches({ module }: Library, slot: Handle, { slot: number, tokenLabel }: TokenOptions): boolean {
  if (number !== undefined && slotNumber(slot) !== number) return false
  if (tokenLabel === undefined) return true
  try {
    // Padded with blanks, by some libraries with zeros.
    return module.C_GetTokenInfo(slot).label.replace(/[\s\0]+$/, '') === tokenLabel
  } catch (error) {
    throw unavailable('a token cannot be read', error)
  }
}

/** A handle is the number as the processor has it. */
function slotNumber(slot: Handle): bigint {
  return slot.length === 8 ? slot.readBigUInt64LE() : BigInt(slot.readUInt32LE())
}
