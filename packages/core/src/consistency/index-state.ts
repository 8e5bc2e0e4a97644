/**
 * The text of `X-Vault-Index`: base64 of `v1:<cluster>:<local index>:<replicated index>:<HMAC-SHA256, hex>`, as Vault's clients parse it.
 * They compare states of one cluster by the two numbers, keep the greater, and drop a state of another cluster for a newer one.
 * So a place in a log is one number that grows over promotions, and `cluster` changes whenever numbers of old could mislead:
 * `<cluster id>.<id of its log>`, and while it takes part in performance replication `.<start of the set's id>` as well.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { CoreError, type LogPlace } from '../contracts.ts'

export interface IndexState {
  clusterId: string
  /** Tells this cluster's log from the one it had before it joined a primary. */
  logId: string
  /** `setName` of the performance replication set; "" when there is none. */
  set: string
  /** In the cluster's own log. */
  local: LogPlace
  /** In the primary's log; the same as `local` on a primary and without replication. */
  replicated: LogPlace
}

/** Both together are far below the 64 KiB of all headers, and far above the two states that Vault's client keeps. */
const LONGEST_HEADER = 4096
const MOST_STATES = 8
/** An index has 15 decimal digits, the epoch stands before them: `last_wal` can be read off until the first promotion. */
const INDEX_DIGITS = 15
const MOST_INDEX = 10 ** INDEX_DIGITS - 1
/** What is left of 64 bits. */
const MOST_EPOCH = 18_446

/** As much of a set's id as is needed to tell the sets apart that one cluster has been in. */
export function setName(setId: string): string {
  return setId.slice(0, 8)
}

/** -1, 0, 1 as `one` is before, at or after `other`. */
export function comparePlaces(one: LogPlace, other: LogPlace): number {
  return Math.sign(one.epoch - other.epoch) || Math.sign(one.index - other.index)
}

/** Undefined for a place that does not fit: the client then gets no index, rather than a wrong one. */
export function encodeIndexState(key: Uint8Array, state: IndexState): string | undefined {
  const local = encodePlace(state.local)
  const replicated = encodePlace(state.replicated)
  if (local === undefined || replicated === undefined) return undefined
  const cluster = `${state.clusterId}.${state.logId}${state.set === '' ? '' : `.${state.set}`}`
  const text = `v1:${cluster}:${local}:${replicated}`
  return Buffer.from(`${text}:${hmac(key, text).toString('hex')}`).toString('base64')
}

/** All values of the header, joined by commas as HTTP has it. Throws CORE_INVALID_REQUEST saying which one is wrong, and never what is right. */
export function decodeIndexHeader(key: Uint8Array, header: string): IndexState[] {
  if (header.length > LONGEST_HEADER) throw invalid(`expected at most ${LONGEST_HEADER} characters`)
  const texts = header
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
  if (texts.length > MOST_STATES) throw invalid(`expected at most ${MOST_STATES} states`)
  return texts.map((text, place) => decodeIndexState(key, text, `state ${place + 1}`))
}

function decodeIndexState(key: Uint8Array, text: string, name: string): IndexState {
  const bytes = Buffer.from(text, 'base64')
  // What Node would pass over (other alphabets, rubbish in between) is refused.
  if (bytes.toString('base64') !== text) throw invalid(`${name} is not base64`)
  const decoded = bytes.toString('latin1')
  const split = decoded.lastIndexOf(':')
  const given = decoded.slice(split + 1)
  if (split < 0 || !/^[0-9a-f]{64}$/.test(given)) throw invalid(`${name} is malformed`)
  const signed = decoded.slice(0, split)
  if (!timingSafeEqual(hmac(key, signed), Buffer.from(given, 'hex'))) {
    throw invalid(`${name} was not made by this cluster or its replication set (HMAC mismatch)`)
  }
  const [version, cluster, local, replicated, ...rest] = signed.split(':')
  const [clusterId, logId, set = '', ...more] = (cluster ?? '').split('.')
  const places = [decodePlace(local), decodePlace(replicated)]
  if (version !== 'v1' || rest.length > 0 || !clusterId || !logId || more.length > 0) {
    throw invalid(`${name} is malformed`)
  }
  if (places[0] === undefined || places[1] === undefined) throw invalid(`${name} is malformed`)
  return { clusterId, logId, set, local: places[0], replicated: places[1] }
}

function encodePlace({ epoch, index }: LogPlace): string | undefined {
  if (epoch < 1 || epoch > MOST_EPOCH || index < 0 || index > MOST_INDEX) return undefined
  return epoch === 1 ? String(index) : `${epoch - 1}${String(index).padStart(INDEX_DIGITS, '0')}`
}

function decodePlace(text: string | undefined): LogPlace | undefined {
  if (text === undefined || !/^(?:0|[1-9]\d{0,19})$/.test(text)) return undefined
  const split = Math.max(0, text.length - INDEX_DIGITS)
  const place = { epoch: Number(text.slice(0, split)) + 1, index: Number(text.slice(split)) }
  return place.epoch > MOST_EPOCH ? undefined : place
}

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'latin1').digest()
}

function invalid(text: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', `X-Vault-Index: ${text}`)
}
