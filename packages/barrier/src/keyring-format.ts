/**
 * The plaintext form of a keyring: the JSON Vault uses, so that its tools can read ours.
 * `{ MasterKey, Keys: [{ Term, Version, Value, InstallTime, encryptions }], RotationConfig }`, bytes in base64, times in
 * RFC 3339, the interval in nanoseconds.
 */
import { KEY_BYTES } from './aead.ts'
import { BarrierError } from './errors.ts'

const MAX_TERM = 0xffff_ffff
/** Far above any real keyring; bounds the work a damaged record can cause. */
const MAX_BYTES = 16 * 1024 * 1024

export interface RotationConfig {
  /** Whether `needsRotation` ever says true. Default true. */
  enabled: boolean
  /** Encryptions per key after which to rotate. Default 3,865,470,566 (90 % of 2^32), as in Vault. */
  maxOperations: number
  /** Milliseconds since the key was installed after which to rotate; 0 = never. Default 0. */
  intervalMs: number
}

export interface TermKey {
  term: number
  key: Uint8Array
  installTime: number
  encryptions: number
}

export interface KeyringState {
  rootKey: Uint8Array
  /** Ascending terms, at least one. */
  keys: TermKey[]
  rotation: RotationConfig
}

export const DEFAULT_ROTATION: RotationConfig = { enabled: true, maxOperations: 3_865_470_566, intervalMs: 0 }

export function encodeKeyring(state: KeyringState): Uint8Array {
  const json = JSON.stringify({
    MasterKey: base64(state.rootKey),
    Keys: state.keys.map((key) => ({
      Term: key.term,
      Version: 1,
      Value: base64(key.key),
      InstallTime: new Date(key.installTime).toISOString(),
      encryptions: key.encryptions,
    })),
    RotationConfig: {
      Disabled: !state.rotation.enabled,
      MaxOperations: state.rotation.maxOperations,
      Interval: state.rotation.intervalMs * 1_000_000,
    },
  })
  return new TextEncoder().encode(json)
}

export function decodeKeyring(bytes: Uint8Array): KeyringState {
  if (bytes.length > MAX_BYTES) throw invalid()
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    // The parser's message could quote key material.
    throw invalid()
  }
  const { MasterKey, Keys, RotationConfig } = record(json)
  if (!Array.isArray(Keys) || Keys.length === 0) throw invalid()
  const keys = Keys.map(decodeKey).sort((a, b) => a.term - b.term)
  if (keys.some((key, index) => keys[index - 1]?.term === key.term)) throw invalid()
  return { rootKey: keyBytes(MasterKey), keys, rotation: decodeRotation(RotationConfig) }
}

function decodeKey(value: unknown): TermKey {
  const { Term, Value, InstallTime, encryptions } = record(value)
  const term = count(Term)
  const installTime = typeof InstallTime === 'string' ? Date.parse(InstallTime) : Number.NaN
  if (term < 1 || term > MAX_TERM || Number.isNaN(installTime)) throw invalid()
  return { term, key: keyBytes(Value), installTime, encryptions: count(encryptions ?? 0) }
}

function decodeRotation(value: unknown): RotationConfig {
  if (value === undefined || value === null) return { ...DEFAULT_ROTATION }
  const { Disabled, MaxOperations, Interval } = record(value)
  return {
    enabled: Disabled !== true,
    maxOperations: count(MaxOperations ?? 0) || DEFAULT_ROTATION.maxOperations,
    intervalMs: count(Interval ?? 0) / 1_000_000,
  }
}

function keyBytes(value: unknown): Uint8Array {
  if (typeof value !== 'string') throw invalid()
  const decoded = Buffer.from(value, 'base64')
  const key = new Uint8Array(decoded)
  decoded.fill(0)
  if (key.length !== KEY_BYTES || base64(key) !== value) throw invalid()
  return key
}

function count(value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) throw invalid()
  return value
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid()
  return value as Record<string, unknown>
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function invalid(): BarrierError {
  return new BarrierError('BARRIER_INVALID_KEYRING', 'the keyring is not in a known form')
}
