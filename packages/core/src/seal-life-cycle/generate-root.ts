/**
 * Makes a root token, or on a DR secondary an operation token, once enough key holders gave their shares. The token leaves
 * only encoded with a one-time password that the one who started the attempt knows.
 */
import { randomInt, randomUUID, timingSafeEqual } from 'node:crypto'
import { CoreError } from '../contracts.ts'
import { decodeShare, keyShares } from './key-shares.ts'
import type { OperatorKey } from './seal-material.ts'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

export type GenerateAction = 'status' | 'start' | 'update' | 'cancel'

export interface GenerateRootComponents {
  operatorKey(): Promise<OperatorKey>
  /** The token to encode, made only when the shares were right. */
  issue(): Promise<string>
  /** Length of the tokens `issue` makes, in characters. */
  tokenLength: number
  /** Field the result is repeated in. */
  resultField: 'encoded_root_token' | undefined
}

export interface GenerateRoot {
  run(action: GenerateAction, params: Record<string, unknown>): Promise<Record<string, unknown> | undefined>
}

export function generateRoot(components: GenerateRootComponents): GenerateRoot {
  const shares = keyShares()
  let attempt: { nonce: string; otp: string } | undefined

  async function status(extra: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const { threshold } = await components.operatorKey()
    return {
      nonce: attempt?.nonce ?? '',
      started: attempt !== undefined,
      progress: shares.progress,
      required: threshold,
      complete: false,
      encoded_token: '',
      encoded_root_token: '',
      pgp_fingerprint: '',
      otp: '',
      otp_length: components.tokenLength,
      ...extra,
    }
  }

  function start(params: Record<string, unknown>): Promise<Record<string, unknown>> {
    if (attempt !== undefined) throw invalid('root generation already in progress')
    if (typeof params.pgp_key === 'string' && params.pgp_key !== '')
      throw invalid('pgp_key: PGP encryption is not supported, use an OTP')
    const given = params.otp
    if (given !== undefined && given !== '' && given !== null) {
      if (typeof given !== 'string' || given.length !== components.tokenLength) {
        throw invalid(`otp string is wrong length; expected ${components.tokenLength}`)
      }
      attempt = { nonce: randomUUID(), otp: given }
      return status()
    }
    const otp = Array.from({ length: components.tokenLength }, () => ALPHABET[randomInt(ALPHABET.length)]).join('')
    attempt = { nonce: randomUUID(), otp }
    return status({ otp })
  }

  async function update(params: Record<string, unknown>): Promise<Record<string, unknown>> {
    if (params.key === undefined || params.key === '') throw invalid("'key' must be specified in request body as JSON")
    const share = decodeShare(params.key)
    if (attempt === undefined) throw invalid('no root generation in progress')
    if (params.nonce !== attempt.nonce)
      throw invalid(`incorrect nonce supplied; nonce for this root generation operation is "${attempt.nonce}"`)
    const operatorKey = await components.operatorKey()
    const key = shares.add(share, operatorKey)
    if (key === undefined) return status()
    const right = key.length === operatorKey.key.length && timingSafeEqual(key, operatorKey.key)
    key.fill(0)
    if (!right) throw invalid('root generation aborted: the key shares given are not valid')
    const { nonce, otp } = attempt
    const encoded = encode(await components.issue(), otp)
    attempt = undefined
    const result = { nonce, started: true, progress: operatorKey.threshold, complete: true, encoded_token: encoded }
    return status(components.resultField ? { ...result, [components.resultField]: encoded } : result)
  }

  return {
    async run(action, params) {
      if (action === 'status') return status()
      if (action === 'start') return start(params)
      if (action === 'update') return update(params)
      attempt = undefined
      shares.reset()
      return undefined
    },
  }
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

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
