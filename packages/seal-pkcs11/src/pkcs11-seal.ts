/** The auto seal whose key is in a hardware security module: AES-GCM carried out there, by PKCS#11. */
import { randomBytes } from 'node:crypto'
import { type AutoSeal, SealError } from '@lockstep/seal'
import {
  decodeEnvelope,
  decryptionFailed,
  envelopeHeader,
  IV_BYTES,
  type KeyName,
  keyText,
  TAG_BYTES,
} from './envelope.ts'
import { type Library, openLibrary } from './library.ts'
import type { Handle, Mechanism } from './pkcs11-api.ts'
import { isDamaged, isPinRefused, isVague, unavailable } from './return-values.ts'
import { openTokenSession, type TokenSession } from './token-session.ts'

export interface Pkcs11SealOptions {
  /** Path of the PKCS#11 library. */
  lib: string
  /** Slot number, or the label of the token in it, or both. */
  slot?: bigint
  tokenLabel?: string
  pin: string
  /** Label of an AES key of the token, or its id, or both. At most 255 bytes each. */
  keyLabel?: string
  keyId?: Uint8Array
  /** `encrypt` makes the key when the token has none. Default false. */
  generateKey?: boolean
  /** Of one operation of the token, ms. Default 20,000. */
  timeoutMs?: number
}

export interface Pkcs11Seal extends AutoSeal {
  /** Ends its session. The last seal that uses a library finalizes it. */
  close(): Promise<void>
}

const CKM_AES_GCM = 0x1087
/** `CK_GCM_PARAMS` of PKCS#11 2.40 and later, as pkcs11js numbers it. */
const GCM_PARAMETERS = 7
const PREFIX = Buffer.of(1)
const MAX_PLAINTEXT_BYTES = 64 * 1024

/**
 * Loads the library; the token is asked for nothing yet. Rejects with `SEAL_INVALID_CONFIG` for options that cannot be right and when the
 * library, or the native module pkcs11js, cannot be loaded.
 */
export async function pkcs11Seal(options: Pkcs11SealOptions): Promise<Pkcs11Seal> {
  const { slot, tokenLabel, pin, timeoutMs = 20_000 } = options
  const name = keyName(options)
  if (slot === undefined && tokenLabel === undefined) invalid('slot or token label is missing')
  if (pin === '') invalid('the PIN is empty')
  const library = await openLibrary(options.lib)
  let session: TokenSession | undefined
  let pinRefused = false
  let closed = false
  let last: Promise<unknown> = Promise.resolve()

  function open(writable: boolean): TokenSession {
    if (pinRefused)
      throw new SealError('SEAL_UNAVAILABLE', 'the token refused the PIN: it is not tried again before a restart')
    try {
      return openTokenSession(library, { slot, tokenLabel, pin }, writable)
    } catch (error) {
      if (isPinRefused(error)) pinRefused = true
      throw unavailable('logging in to the token failed', error)
    }
  }

  function generate(): void {
    const writable = open(true)
    try {
      if (writable.findKey(name) === undefined) writable.generateKey(name)
    } catch (error) {
      throw unavailable('making the key failed', error)
    } finally {
      writable.close()
    }
  }

  /** A session holds one operation at a time. One that failed is not used again: what broke it may be over for the next. */
  function withKey<T>(of: KeyName, body: (session: TokenSession, key: Handle) => Promise<T>, make = false): Promise<T> {
    const next = last.then(async () => {
      if (closed) throw new SealError('SEAL_UNAVAILABLE', 'the PKCS#11 seal is closed')
      for (let attempt = 0; ; attempt++) {
        const reused = session !== undefined
        try {
          session ??= open(false)
          let key = session.findKey(of)
          if (key === undefined && make) {
            generate()
            key = session.findKey(of)
          }
          if (key === undefined) throw new SealError('SEAL_UNKNOWN_KEY', `the token has no AES key ${keyText(of)}`)
          return await body(session, key)
        } catch (error) {
          if (!(error instanceof SealError)) {
            session?.close()
            session = undefined
            if (reused && attempt === 0) continue
          }
          throw error
        }
      }
    })
    last = next.catch(() => {})
    return next
  }

  async function seal(plaintext: Uint8Array): Promise<Uint8Array> {
    const header = envelopeHeader(name)
    const iv = randomBytes(IV_BYTES)
    const framed = Buffer.concat([PREFIX, plaintext])
    const ciphertext = await withKey(
      name,
      (open, key) => run(library, 'Encrypt', open, key, gcm(iv, header), framed, timeoutMs),
      options.generateKey,
    ).finally(() => framed.fill(0))
    if (ciphertext.length !== framed.length + TAG_BYTES) {
      throw new SealError('SEAL_UNAVAILABLE', 'the token returned a ciphertext of the wrong length')
    }
    return new Uint8Array(Buffer.concat([header, iv, ciphertext]))
  }

  async function unseal(bytes: Uint8Array): Promise<Uint8Array> {
    const { key: of, header, iv, ciphertext } = decodeEnvelope(bytes)
    const framed = await withKey(of, (open, key) =>
      run(library, 'Decrypt', open, key, gcm(iv, header), ciphertext, timeoutMs),
    )
    const plaintext = framed.slice(PREFIX.length)
    const whole = framed[0] === PREFIX[0]
    framed.fill(0)
    if (!whole) throw decryptionFailed()
    return plaintext
  }

  /** Whether the token does its work, so that an envelope it refuses for no stated reason is at fault. */
  async function works(of: KeyName): Promise<boolean> {
    const [header, iv, probe] = [envelopeHeader(of), randomBytes(IV_BYTES), randomBytes(16)]
    try {
      const made = await withKey(of, (open, key) =>
        run(library, 'Encrypt', open, key, gcm(iv, header), probe, timeoutMs),
      )
      const opened = await withKey(of, (open, key) =>
        run(library, 'Decrypt', open, key, gcm(iv, header), made, timeoutMs),
      )
      return probe.equals(opened)
    } catch {
      return false
    }
  }

  return {
    type: 'pkcs11',
    keyId: keyText(name),
    async encrypt(plaintext) {
      if (plaintext.length > MAX_PLAINTEXT_BYTES)
        invalid(`a seal encrypts keys, not more than ${MAX_PLAINTEXT_BYTES} bytes`)
      try {
        return await seal(plaintext)
      } catch (error) {
        throw unavailable('encrypting in the token failed', error)
      }
    },
    async decrypt(envelope) {
      try {
        return await unseal(envelope)
      } catch (error) {
        if (isDamaged(error)) throw decryptionFailed()
        if (isVague(error) && (await works(decodeEnvelope(envelope).key))) throw decryptionFailed()
        throw unavailable('decrypting in the token failed', error)
      }
    },
    keyIdOf: (envelope) => keyText(decodeEnvelope(envelope).key),
    async close() {
      if (closed) return
      closed = true
      await last
      session?.close()
      session = undefined
      library.release()
    },
  }
}

function keyName({ keyLabel = '', keyId = new Uint8Array() }: Pkcs11SealOptions): KeyName {
  if (keyLabel === '' && keyId.length === 0) invalid('key label or key id is missing')
  if (Buffer.byteLength(keyLabel) > 255 || keyId.length > 255)
    invalid('key label and key id are at most 255 bytes long')
  return { label: keyLabel, id: Buffer.from(keyId) }
}

function gcm(iv: Buffer, aad: Buffer): Mechanism {
  const lengths = { ivBits: IV_BYTES * 8, tagBits: TAG_BYTES * 8 }
  return { mechanism: CKM_AES_GCM, parameter: { type: GCM_PARAMETERS, iv, aad, ...lengths } }
}

/** In a thread of its own, as the token may be far away. What comes late is overwritten. */
function run(
  { module }: Library,
  operation: 'Encrypt' | 'Decrypt',
  { handle }: TokenSession,
  key: Handle,
  mechanism: Mechanism,
  data: Uint8Array,
  timeoutMs: number,
): Promise<Uint8Array> {
  // The native side works on these two while JavaScript goes on: they live until it is done.
  const input = Buffer.from(data)
  const output = Buffer.alloc(data.length + TAG_BYTES)
  module[`C_${operation}Init`](handle, mechanism, key)
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no answer in time')), timeoutMs)
    module[`C_${operation}Async`](handle, input, output)
      .then((result) => resolve(new Uint8Array(result)), reject)
      .finally(() => {
        clearTimeout(timer)
        input.fill(0)
        output.fill(0)
      })
  })
}

function invalid(message: string): never {
  throw new SealError('SEAL_INVALID_CONFIG', message)
}
