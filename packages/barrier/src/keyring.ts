/** The barrier's keys: one per term, the newest active, all of them able to decrypt. */
import { randomFillSync, timingSafeEqual } from 'node:crypto'
import { type Aead, KEY_BYTES } from './aead.ts'
import { BarrierError } from './errors.ts'
import {
  DEFAULT_ROTATION,
  decodeKeyring,
  encodeKeyring,
  type KeyringState,
  type RotationConfig,
  type TermKey,
} from './keyring-format.ts'
import { nodeAead } from './node-aead.ts'
import { noncePool } from './nonce.ts'
import { openRecord, sealRecord } from './record.ts'

/** Where the encrypted keyring is stored, and thereby its associated data. */
export const KEYRING_PATH = 'core/keyring'
/** NIST SP 800-38D, section 8.3: at most this many random nonces per key. */
export const MAX_ENCRYPTIONS_PER_KEY = 2 ** 32
const KEYRING_TERM = 1
const MAX_TERM = 0xffff_ffff

export interface KeyringOptions {
  /** Default `nodeAead()`. */
  aead?: Aead
  /** Milliseconds since the epoch, for install times and rotation by age. Default the system clock. */
  now?: () => number
}

export interface Term {
  term: number
  /** Milliseconds since the epoch. */
  installTime: number
  /** Encryptions under this key as far as this keyring knows. */
  encryptions: number
}

/** All methods throw `BARRIER_CLOSED` after `close`. */
export interface Keyring {
  readonly activeTerm: number
  readonly rotation: RotationConfig
  /** The active key has had its allowance of encryptions, or is older than the configured interval. */
  readonly needsRotation: boolean
  /** Ascending. */
  terms(): Term[]
  /** A record for `path` under the active key. Throws `BARRIER_KEY_EXHAUSTED` at 2^32 encryptions. */
  seal(path: string, plaintext: Uint8Array): Uint8Array
  /** Throws `BARRIER_DECRYPTION_FAILED` for any record that this keyring did not seal for this very path. */
  open(path: string, record: Uint8Array): Uint8Array
  /** Adds encryptions done elsewhere under a shared key (another cluster, or before a crash). */
  countEncryptions(term: number, encryptions: number): void
  configureRotation(change: Partial<RotationConfig>): void
  /** Adds a fresh key as the next term and makes it active; store the keyring before using it. Returns the term. */
  rotate(): number
  /** A copy. */
  rootKey(): Uint8Array
  /** Constant-time. */
  hasRootKey(candidate: Uint8Array): boolean
  /** From now on `encrypt` uses this root key (32 bytes, copied). */
  replaceRootKey(rootKey: Uint8Array): void
  /** Plaintext JSON with every key in it; zeroise it after use. */
  serialize(): Uint8Array
  /** The record to store at `core/keyring`, under the root key. */
  encrypt(): Uint8Array
  /** An independent keyring with the same keys and counts. */
  clone(): Keyring
  /** Overwrites every key. Idempotent. */
  close(): void
}

/** A keyring with a new root key (or the given 32 bytes, copied) and one new key, term 1. */
export function createKeyring(options: KeyringOptions & { rootKey?: Uint8Array } = {}): Keyring {
  const now = options.now ?? Date.now
  const rootKey = options.rootKey === undefined ? randomKey() : copyKey(options.rootKey)
  const first: TermKey = { term: 1, key: randomKey(), installTime: now(), encryptions: 0 }
  return new VaultKeyring({ rootKey, keys: [first], rotation: { ...DEFAULT_ROTATION } }, options)
}

/** From `serialize`. Throws `BARRIER_INVALID_KEYRING`. */
export function deserializeKeyring(plaintext: Uint8Array, options: KeyringOptions = {}): Keyring {
  return new VaultKeyring(decodeKeyring(plaintext), options)
}

/** Opens the record stored at `core/keyring`. Throws `BARRIER_DECRYPTION_FAILED` for a wrong root key. */
export function openKeyring(rootKey: Uint8Array, record: Uint8Array, options: KeyringOptions = {}): Keyring {
  const plaintext = openRecord(options.aead ?? nodeAead(), () => rootKey, KEYRING_PATH, record)
  try {
    return deserializeKeyring(plaintext, options)
  } finally {
    plaintext.fill(0)
  }
}

class VaultKeyring implements Keyring {
  readonly #state: KeyringState
  readonly #byTerm: Map<number, TermKey>
  readonly #aead: Aead
  readonly #now: () => number
  readonly #nonce = noncePool()
  readonly #keyOf = (term: number): Uint8Array | undefined => this.#byTerm.get(term)?.key
  #active: TermKey
  #closed = false

  constructor(state: KeyringState, options: KeyringOptions) {
    this.#state = state
    this.#byTerm = new Map(state.keys.map((key) => [key.term, key]))
    this.#active = state.keys.at(-1)!
    this.#aead = options.aead ?? nodeAead()
    this.#now = options.now ?? Date.now
  }

  get activeTerm(): number {
    return this.#active.term
  }

  get rotation(): RotationConfig {
    return { ...this.#state.rotation }
  }

  get needsRotation(): boolean {
    const { enabled, maxOperations, intervalMs } = this.#state.rotation
    if (!enabled) return false
    if (this.#active.encryptions >= maxOperations) return true
    return intervalMs > 0 && this.#now() - this.#active.installTime >= intervalMs
  }

  terms(): Term[] {
    return this.#state.keys.map(({ term, installTime, encryptions }) => ({ term, installTime, encryptions }))
  }

  seal(path: string, plaintext: Uint8Array): Uint8Array {
    this.#assertOpen()
    const active = this.#active
    if (active.encryptions >= MAX_ENCRYPTIONS_PER_KEY) {
      throw new BarrierError('BARRIER_KEY_EXHAUSTED', 'the active key has reached its limit of encryptions: rotate')
    }
    active.encryptions++
    return sealRecord(this.#aead, active, this.#nonce(), path, plaintext)
  }

  open(path: string, record: Uint8Array): Uint8Array {
    this.#assertOpen()
    return openRecord(this.#aead, this.#keyOf, path, record)
  }

  countEncryptions(term: number, encryptions: number): void {
    this.#assertOpen()
    if (!Number.isInteger(encryptions) || encryptions < 0) throw new RangeError('encryptions must be a whole number')
    const key = this.#byTerm.get(term)
    if (key === undefined) throw new BarrierError('BARRIER_INVALID_KEYRING', `the keyring has no term ${term}`)
    key.encryptions += encryptions
  }

  configureRotation(change: Partial<RotationConfig>): void {
    this.#assertOpen()
    const next = { ...this.#state.rotation, ...change }
    const { maxOperations, intervalMs } = next
    if (!Number.isInteger(maxOperations) || maxOperations < 1 || maxOperations > MAX_ENCRYPTIONS_PER_KEY) {
      throw new RangeError('maxOperations must be a whole number from 1 to 2^32')
    }
    if (!Number.isInteger(intervalMs) || intervalMs < 0 || intervalMs > Number.MAX_SAFE_INTEGER / 1_000_000) {
      throw new RangeError('intervalMs must be a whole number of milliseconds')
    }
    this.#state.rotation = next
  }

  rotate(): number {
    this.#assertOpen()
    const term = this.#active.term + 1
    if (term > MAX_TERM) throw new BarrierError('BARRIER_KEY_EXHAUSTED', 'every term has been used')
    const key: TermKey = { term, key: randomKey(), installTime: this.#now(), encryptions: 0 }
    this.#state.keys.push(key)
    this.#byTerm.set(term, key)
    this.#active = key
    return term
  }

  rootKey(): Uint8Array {
    this.#assertOpen()
    return new Uint8Array(this.#state.rootKey)
  }

  hasRootKey(candidate: Uint8Array): boolean {
    this.#assertOpen()
    return candidate.length === KEY_BYTES && timingSafeEqual(candidate, this.#state.rootKey)
  }

  replaceRootKey(rootKey: Uint8Array): void {
    this.#assertOpen()
    const next = copyKey(rootKey)
    this.#state.rootKey.fill(0)
    this.#state.rootKey = next
  }

  serialize(): Uint8Array {
    this.#assertOpen()
    return encodeKeyring(this.#state)
  }

  encrypt(): Uint8Array {
    const plaintext = this.serialize()
    try {
      const rootKey = { term: KEYRING_TERM, key: this.#state.rootKey }
      return sealRecord(this.#aead, rootKey, this.#nonce(), KEYRING_PATH, plaintext)
    } finally {
      plaintext.fill(0)
    }
  }

  clone(): Keyring {
    this.#assertOpen()
    const { rootKey, keys, rotation } = this.#state
    const copy = {
      rootKey: new Uint8Array(rootKey),
      keys: keys.map((key) => ({ ...key, key: new Uint8Array(key.key) })),
      rotation: { ...rotation },
    }
    return new VaultKeyring(copy, { aead: this.#aead, now: this.#now })
  }

  close(): void {
    this.#closed = true
    this.#state.rootKey.fill(0)
    for (const { key } of this.#state.keys) key.fill(0)
  }

  #assertOpen(): void {
    if (this.#closed) throw new BarrierError('BARRIER_CLOSED', 'the keyring is closed')
  }
}

function randomKey(): Uint8Array {
  return randomFillSync(new Uint8Array(KEY_BYTES))
}

function copyKey(key: Uint8Array): Uint8Array {
  if (key.length !== KEY_BYTES) throw new BarrierError('BARRIER_INVALID_KEY', 'the root key must be 32 bytes long')
  return new Uint8Array(key)
}
