/**
 * Makes a root token, or on a DR secondary an operation token, once enough key holders gave their shares. The token leaves
 * only encoded with a one-time password that the one who started the attempt knows, or encrypted to their PGP key.
 */
import { randomInt, randomUUID, timingSafeEqual } from 'node:crypto'
import { CoreError } from '../contracts.ts'
import { decodeShare, keyShares, type ShareCounts } from './key-shares.ts'
import { pgpRecipient } from './pgp-recipient.ts'
import type { OperatorKey } from './seal-material.ts'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

export type GenerateAction = 'status' | 'start' | 'update' | 'cancel'

export interface GenerateRootComponents {
  shareCounts(): Promise<ShareCounts>
  /** A copy, overwritten after use. */
  operatorKey(): Promise<OperatorKey>
  /** The token to encode, made only when the shares were right. */
  issue(): Promise<string>
  /** Length of the tokens `issue` makes, in bytes of UTF-8. */
  tokenLength: number
  /** Field the result is repeated in. */
  resultField: 'encoded_root_token' | undefined
}

export interface GenerateRoot {
  /** One at a time, in order. Undefined after `cancel`. */
  run(action: GenerateAction, params: Record<string, unknown>): Promise<Record<string, unknown> | undefined>
  /** Forgets attempt and shares: the node was sealed, or the key they belong to has changed. */
  reset(): void
}

export function generateRoot(components: GenerateRootComponents): GenerateRoot {
  const { tokenLength } = components
  const shares = keyShares()
  let attempt: { nonce: string; encode(token: string): Promise<string> | string; fingerprint: string } | undefined
  let last: Promise<unknown> = Promise.resolve()

  async function status(extra: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const { threshold } = await components.shareCounts()
    return {
      nonce: attempt?.nonce ?? '',
      started: attempt !== undefined,
      progress: shares.progress,
      required: threshold,
      complete: false,
      encoded_token: '',
      encoded_root_token: '',
      pgp_fingerprint: attempt?.fingerprint ?? '',
      otp: '',
      otp_length: tokenLength,
      ...extra,
    }
  }

  async function start(params: Record<string, unknown>): Promise<Record<string, unknown>> {
    if (attempt !== undefined) throw invalid('root generation already in progress')
    const given = params.otp
    const pgpKey = params.pgp_key ?? ''
    if (pgpKey !== '') {
      if (typeof pgpKey !== 'string') throw invalid('pgp_key: expected a string')
      if (given !== undefined && given !== '' && given !== null)
        throw invalid('otp and pgp_key cannot be given together')
      const { fingerprint, encrypt } = await pgpRecipient(pgpKey)
      attempt = { nonce: randomUUID(), encode: encrypt, fingerprint }
      return status()
    }
    if (given !== undefined && given !== '' && given !== null) {
      if (typeof given !== 'string' || Buffer.byteLength(given) !== tokenLength) {
        throw invalid(`otp string is wrong length; expected ${tokenLength}`)
      }
      attempt = withPassword(given)
      return status()
    }
    const otp = Array.from({ length: tokenLength }, () => ALPHABET[randomInt(ALPHABET.length)]).join('')
    attempt = withPassword(otp)
    return status({ otp })
  }

  async function update(params: Record<string, unknown>): Promise<Record<string, unknown>> {
    if (params.key === undefined || params.key === '') throw invalid("'key' must be specified in request body as JSON")
    const share = decodeShare(params.key)
    const current = attempt
    if (current === undefined) throw invalid('no root generation in progress')
    if (params.nonce !== current.nonce)
      throw invalid(`incorrect nonce supplied; nonce for this root generation operation is "${current.nonce}"`)
    if (shares.has(share)) throw invalid('given key has already been provided during this generation operation')
    const counts = await components.shareCounts()
    if (attempt !== current) throw invalid('no root generation in progress')
    const key = combine(share, counts)
    if (key === undefined) return status()
    if (!(await isRight(key))) throw aborted()
    const { nonce, fingerprint } = current
    const encoded = await current.encode(await components.issue())
    attempt = undefined
    const done = { nonce, started: true, progress: counts.threshold, complete: true, pgp_fingerprint: fingerprint }
    const result = { ...done, encoded_token: encoded }
    return status(components.resultField ? { ...result, [components.resultField]: encoded } : result)
  }

  function combine(share: Uint8Array, counts: ShareCounts): Uint8Array | undefined {
    try {
      return shares.add(share, counts)
    } catch (cause) {
      throw aborted(cause)
    }
  }

  async function isRight(key: Uint8Array): Promise<boolean> {
    const operatorKey = await components.operatorKey()
    try {
      return key.length === operatorKey.key.length && timingSafeEqual(key, operatorKey.key)
    } finally {
      key.fill(0)
      operatorKey.key.fill(0)
    }
  }

  function reset(): void {
    attempt = undefined
    shares.reset()
  }

  async function run(action: GenerateAction, params: Record<string, unknown>) {
    if (action === 'status') return status()
    if (action === 'start') return start(params)
    if (action === 'update') return update(params)
    return reset()
  }

  return {
    reset,
    run(action, params) {
      const next = last.then(() => run(action, params))
      last = next.catch(() => {})
      return next as ReturnType<GenerateRoot['run']>
    },
  }
}

function withPassword(otp: string) {
  return { nonce: randomUUID(), encode: (token: string) => encode(token, otp), fingerprint: '' }
}

/** base64(token XOR otp), unpadded as Vault's clients expect. */
function encode(token: string, otp: string): string {
  const left = Buffer.from(token, 'utf8')
  const right = Buffer.from(otp, 'utf8')
  if (left.length !== right.length) throw new CoreError('CORE_INTERNAL', 'token and OTP differ in length')
  return Buffer.from(left.map((byte, index) => byte ^ right[index]!))
    .toString('base64')
    .replace(/=+$/, '')
}

/** The shares given so far are forgotten, the attempt goes on from none. */
function aborted(cause?: unknown): CoreError {
  const text = 'root generation aborted: the key shares given are not valid'
  return new CoreError('CORE_INVALID_REQUEST', text, { cause })
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
