/**
 * New shares of a new key in place of the operators' present ones, once enough of the present holders agreed. With verification the
 * new key comes into force only when its holders have shown that they have it: nobody is locked out by an answer that got lost.
 */
import { randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import { splitKey } from '@lockstep/seal'
import type { CoreError, Log } from '../contracts.ts'
import { type HandedOut, handOut, shareRecipients } from './hand-out.ts'
import { decodeShare, keyShares, type ShareCounts } from './key-shares.ts'
import type { PgpRecipient } from './pgp-recipient.ts'
import { invalidRequest } from './request-error.ts'
import { checkShares, KEY_BYTES } from './seal-config.ts'
import type { OperatorKey } from './seal-material.ts'
import { encodeBackup, type RekeyTarget } from './share-backup.ts'

export type RekeyAction = 'status' | 'start' | 'cancel' | 'update' | 'verify-status' | 'verify' | 'verify-restart'

export interface RekeyComponents {
  target: RekeyTarget
  /** Of the key in force. */
  shareCounts(): Promise<ShareCounts>
  /** A copy, overwritten after use. */
  operatorKey(): Promise<OperatorKey>
  /** In one transaction: `next`, whose bytes it takes over, is in force from then on, and `backup` stored when given. */
  replace(next: OperatorKey, backup: Uint8Array | undefined): Promise<void>
  /** Ahead of a verification. */
  keepBackup(backup: Uint8Array): Promise<void>
  log: Log
}

export interface Rekey {
  /** One at a time, in order. Undefined after `cancel`. Rejects with CORE_INVALID_REQUEST for what the caller did wrong. */
  run(action: RekeyAction, params: Record<string, unknown>): Promise<Record<string, unknown> | undefined>
  /** Forgets attempt, shares and new key. */
  reset(): void
}

interface Attempt {
  nonce: string
  next: ShareCounts
  recipients: PgpRecipient[] | undefined
  backup: boolean
  verification: boolean
  /** Once the present holders agreed. */
  made: Made | undefined
}

interface Made {
  /** What the present holders gave: a change whose storing failed is tried again by the same shares. */
  given: Uint8Array
  /** Of the key they gave. */
  counts: ShareCounts
  key: OperatorKey
  handedOut: HandedOut
  backup: Uint8Array | undefined
  /** "" without verification. */
  verificationNonce: string
}

const MIN_SHARE_BYTES = 16
const MAX_SHARE_BYTES = KEY_BYTES + 1

export function rekey(components: RekeyComponents): Rekey {
  const { target, log } = components
  const shares = keyShares()
  const verified = keyShares()
  let attempt: Attempt | undefined
  let last: Promise<unknown> = Promise.resolve()

  async function status(): Promise<Record<string, unknown>> {
    const { threshold } = attempt?.made?.counts ?? (await components.shareCounts())
    const verificationNonce = attempt?.made?.verificationNonce ?? ''
    return {
      nonce: attempt?.nonce ?? '',
      started: attempt !== undefined,
      t: attempt?.next.threshold ?? 0,
      n: attempt?.next.shares ?? 0,
      progress: shares.progress,
      required: threshold,
      pgp_fingerprints: attempt?.recipients?.map(({ fingerprint }) => fingerprint) ?? null,
      backup: attempt?.backup ?? false,
      verification_required: attempt?.verification ?? false,
      ...(verificationNonce === '' ? {} : { verification_nonce: verificationNonce }),
    }
  }

  async function start(params: Record<string, unknown>): Promise<Record<string, unknown>> {
    const backup = flag(params, 'backup')
    const verification = flag(params, 'require_verification')
    const next = { shares: count(params, 'secret_shares'), threshold: count(params, 'secret_threshold') }
    const keys = Array.isArray(params.pgp_keys) ? params.pgp_keys.length : 0
    if (backup && keys === 0) {
      throw invalidRequest('cannot request a backup of the new keys without providing PGP keys for encryption')
    }
    if (keys > 0 && keys !== next.shares) throw invalidRequest('incorrect number of PGP keys for rekey')
    checkShares(target === 'barrier' ? 'rekey seal' : 'recovery', next.shares, next.threshold)
    if (attempt !== undefined) throw invalidRequest('rekey already in progress')
    const recipients = await shareRecipients('pgp_keys', params.pgp_keys)
    attempt = { nonce: randomUUID(), next, recipients, backup, verification, made: undefined }
    log.info('rekey initialized', { target, ...next, pgp: keys > 0, verification })
    return status()
  }

  function cancel({ nonce }: Record<string, unknown>): undefined {
    if (nonce !== undefined && nonce !== '' && attempt !== undefined) checkNonce(nonce, attempt.nonce, 'rekey')
    if (attempt !== undefined) log.info('rekey cancelled', { target })
    reset()
  }

  async function update(params: Record<string, unknown>): Promise<Record<string, unknown>> {
    const share = givenShare(params)
    const current = attempt
    if (current === undefined) throw invalidRequest(`no ${target} rekey in progress`)
    if (current.made !== undefined && current.verification) {
      const { verificationNonce } = current.made
      throw invalidRequest(
        `rekey operation already finished; verification must be performed; nonce for the verification operation is "${verificationNonce}"`,
      )
    }
    checkNonce(params.nonce, current.nonce, 'rekey')
    if (shares.has(share)) throw invalidRequest('given key has already been provided during this rekey operation')
    const counts = current.made?.counts ?? (await components.shareCounts())
    const given = combine(share, counts)
    if (given === undefined) return status()
    try {
      const made = current.made ?? (await agreed(given, counts, current))
      current.made = made
      if (attempt !== current) {
        // Sealing, or another role, has ended it meanwhile.
        forget(made)
        throw invalidRequest(`no ${target} rekey in progress`)
      }
      if (!equal(given, made.given)) throw wrongShares()
    } finally {
      given.fill(0)
    }
    const { made, nonce } = current
    if (!current.verification) await inForce(current, made)
    else if (made.backup !== undefined) await components.keepBackup(made.backup)
    const { handedOut, verificationNonce } = made
    return {
      nonce,
      complete: true,
      keys: handedOut.hex,
      keys_base64: handedOut.base64,
      pgp_fingerprints: handedOut.fingerprints ?? null,
      backup: current.backup,
      verification_required: current.verification,
      ...(verificationNonce === '' ? {} : { verification_nonce: verificationNonce }),
    }
  }

  function combine(share: Uint8Array, counts: ShareCounts): Uint8Array | undefined {
    try {
      return shares.add(share, counts)
    } catch (cause) {
      throw wrongShares(cause)
    }
  }

  async function agreed(
    given: Uint8Array,
    counts: ShareCounts,
    { nonce, next, recipients, backup, verification }: Attempt,
  ): Promise<Made> {
    const present = await components.operatorKey()
    const right = equal(given, present.key)
    present.key.fill(0)
    if (!right) throw wrongShares()
    const key = randomBytes(KEY_BYTES)
    const parts = splitKey(key, { secretShares: next.shares, secretThreshold: next.threshold })
    try {
      const handedOut = await handOut(parts, recipients)
      return {
        given: Uint8Array.from(given),
        counts,
        key: { key, ...next },
        handedOut,
        backup: backup ? encodeBackup(nonce, handedOut) : undefined,
        verificationNonce: verification ? randomUUID() : '',
      }
    } finally {
      for (const part of parts) part.fill(0)
    }
  }

  /** When it fails, the attempt goes on: the same shares may try again. */
  async function inForce(current: Attempt, { key, backup }: Made): Promise<void> {
    await components.replace({ ...key, key: Uint8Array.from(key.key) }, current.verification ? undefined : backup)
    if (attempt === current) reset()
    log.info('rekeyed', { target, shares: key.shares, threshold: key.threshold })
  }

  function verifyStatus(): Record<string, unknown> {
    if (attempt === undefined) throw invalidRequest('no rekey configuration found')
    return {
      nonce: attempt.made?.verificationNonce ?? '',
      started: attempt.verification && attempt.made !== undefined,
      t: attempt.next.threshold,
      n: attempt.next.shares,
      progress: verified.progress,
    }
  }

  async function verify(params: Record<string, unknown>): Promise<Record<string, unknown>> {
    const share = givenShare(params)
    const current = attempt
    if (current === undefined) throw invalidRequest('no rekey in progress')
    const { made } = current
    if (made === undefined || !current.verification) throw invalidRequest('no rekey verification in progress')
    checkNonce(params.nonce, made.verificationNonce, 'verify')
    if (verified.has(share)) throw invalidRequest('given key has already been provided during this verify operation')
    const given = combineNew(share, made)
    if (given === undefined) return verifyStatus()
    const right = equal(given, made.key.key)
    given.fill(0)
    if (!right) throw unverified(made)
    const nonce = made.verificationNonce
    await inForce(current, made)
    return { nonce, complete: true }
  }

  function combineNew(share: Uint8Array, made: Made): Uint8Array | undefined {
    try {
      return verified.add(share, made.key)
    } catch (cause) {
      throw unverified(made, cause)
    }
  }

  function unverified(made: Made, cause?: unknown): CoreError {
    made.verificationNonce = randomUUID()
    return invalidRequest('rekey verification failed; incorrect key shares supplied', cause)
  }

  function verifyRestart(): Record<string, unknown> {
    verified.reset()
    if (attempt?.made !== undefined && attempt.verification) attempt.made.verificationNonce = randomUUID()
    return verifyStatus()
  }

  function reset(): void {
    const made = attempt?.made
    attempt = undefined
    shares.reset()
    verified.reset()
    if (made !== undefined) forget(made)
  }

  function forget({ given, key }: Made): void {
    given.fill(0)
    key.key.fill(0)
  }

  const actions: Record<
    RekeyAction,
    (params: Record<string, unknown>) => Promise<Record<string, unknown>> | Record<string, unknown> | undefined
  > = {
    ...{ status, start, cancel, update, verify },
    'verify-status': verifyStatus,
    'verify-restart': verifyRestart,
  }

  return {
    reset,
    run(action, params) {
      const next = last.then(() => actions[action](params))
      last = next.catch(() => {})
      return next
    },
  }
}

/** The shares given so far are forgotten, the attempt goes on from none. */
function wrongShares(cause?: unknown): CoreError {
  return invalidRequest('key verification failed: the key shares given are not those of the present key', cause)
}

function givenShare(params: Record<string, unknown>): Uint8Array {
  if (params.key === undefined || params.key === '' || params.key === null) {
    throw invalidRequest("'key' must be specified in request body as JSON")
  }
  const share = decodeShare(params.key)
  if (share.length < MIN_SHARE_BYTES) throw invalidRequest(`key is shorter than minimum ${MIN_SHARE_BYTES} bytes`)
  if (share.length > MAX_SHARE_BYTES) throw invalidRequest(`key is longer than maximum ${MAX_SHARE_BYTES} bytes`)
  return share
}

/** The nonce is told to whoever asks for the status: it keeps attempts apart, it is no secret. */
function checkNonce(given: unknown, expected: string, operation: 'rekey' | 'verify'): void {
  if (typeof given === 'string' && equal(Buffer.from(given), Buffer.from(expected))) return
  throw invalidRequest(`incorrect nonce supplied; nonce for this ${operation} operation is "${expected}"`)
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}

/** Absent is 0, which is refused by what it means. */
function count(params: Record<string, unknown>, field: string): number {
  const value = params[field] ?? 0
  const number = typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value
  if (typeof number !== 'number' || !Number.isInteger(number)) throw invalidRequest(`${field}: expected a whole number`)
  return number
}

function flag(params: Record<string, unknown>, field: string): boolean {
  const value = params[field] ?? false
  if (typeof value !== 'boolean') throw invalidRequest(`${field}: expected true or false`)
  return value
}
