/**
 * The one table of a logged store, inside the physical store:
 *
 * | key                                   | value                                                                     |
 * |---------------------------------------|---------------------------------------------------------------------------|
 * | `d/<logical key>`                     | the value (ciphertext)                                                    |
 * | `i/<class>/<mount>/<key id, 32 hex>`  | leaf digest (32 bytes) ‖ logical key (UTF-8)                              |
 * | `w/<index, 16 hex>`                   | chain digest (32) ‖ bytes logged so far (u48) ‖ time (u48, ms since the   |
 * |                                       | epoch) ‖ encoded WAL record                                               |
 * | `h`                                   | version (u8) ‖ epoch, index, bytes logged, start, bytes before start (u48 |
 * |                                       | each) ‖ digest at index (32) ‖ digest at start - 1 (32)                   |
 *
 * Integers are big-endian. "Bytes logged" counts the bodies of all records since the store was made, so the size of any
 * stretch of the log is a subtraction. The time is when this cluster wrote the record, never less than the one before; it is not in the hashed
 * part, so two clusters' clocks do not make two histories. `w/` keys below `start` are rubbish that a sweep removes.
 *
 * Version 1 had no time in its rows. A store of it keeps its data, index and place (`head`), and gives up its rows when it is opened.
 */
import type { PartitionId } from '@lockstep/replication'
import { LoggedStoreError } from './errors.ts'

export const DATA = 'd/'
export const INDEX = 'i/'
export const LOG = 'w/'
export const HEAD = 'h'

const DIGEST_BYTES = 32
const VERSION = 2
const FORMER_VERSION = 1
const HEAD_BYTES = 1 + 5 * 6 + 2 * DIGEST_BYTES
const ROW_HEADER = DIGEST_BYTES + 6 + 6

/** The log's two ends. Empty when `start` is `index + 1`. */
export interface LogState {
  epoch: number
  index: number
  digest: Uint8Array
  bytes: number
  /** Index of the oldest record kept. */
  start: number
  digestBeforeStart: Uint8Array
  bytesBeforeStart: number
}

/** What the rows say beside the head; found at opening and kept in step. ms since the epoch. */
export interface LogTimes {
  /** Of the oldest record kept; undefined when none is. */
  startTime: number | undefined
  /** Of the newest record ever logged that was still kept at opening; 0 before. */
  lastTime: number
}

export interface LogRow {
  digest: Uint8Array
  /** Bytes logged up to and with this record. */
  bytes: number
  time: number
  body: Uint8Array
}

export function logKey(index: number): string {
  return LOG + index.toString(16).padStart(16, '0')
}

export function indexOfLogKey(key: string): number {
  return Number.parseInt(key.slice(LOG.length), 16)
}

export function indexKey(partition: PartitionId, keyId: string): string {
  return `${INDEX}${partition}/${keyId}`
}

export function parseIndexKey(key: string): { partition: PartitionId; keyId: string } {
  const cut = key.lastIndexOf('/')
  return { partition: key.slice(INDEX.length, cut), keyId: key.slice(cut + 1) }
}

export function encodeLeaf(digest: Uint8Array, key: string): Uint8Array {
  const row = Buffer.allocUnsafe(digest.byteLength + Buffer.byteLength(key))
  row.set(digest, 0)
  row.write(key, digest.byteLength)
  return row
}

export function decodeLeaf(row: Uint8Array): { digest: Uint8Array; key: string } {
  if (row.byteLength <= DIGEST_BYTES) throw corrupt('a Merkle index row')
  return { digest: row.subarray(0, DIGEST_BYTES), key: view(row).toString('utf8', DIGEST_BYTES) }
}

export function encodeRow(row: LogRow): Uint8Array {
  const bytes = Buffer.allocUnsafe(ROW_HEADER + row.body.byteLength)
  bytes.set(row.digest, 0)
  bytes.writeUIntBE(row.bytes, DIGEST_BYTES, 6)
  bytes.writeUIntBE(row.time, DIGEST_BYTES + 6, 6)
  bytes.set(row.body, ROW_HEADER)
  return bytes
}

export function decodeRow(bytes: Uint8Array): LogRow {
  if (bytes.byteLength <= ROW_HEADER) throw corrupt('a log record')
  return {
    digest: digestAt(bytes, 0),
    bytes: view(bytes).readUIntBE(DIGEST_BYTES, 6),
    time: view(bytes).readUIntBE(DIGEST_BYTES + 6, 6),
    body: bytes.subarray(ROW_HEADER),
  }
}

export function encodeHead(state: LogState): Uint8Array {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES)
  let at = bytes.writeUInt8(VERSION, 0)
  for (const number of [state.epoch, state.index, state.bytes, state.start, state.bytesBeforeStart]) {
    at = bytes.writeUIntBE(number, at, 6)
  }
  bytes.set(state.digest, at)
  bytes.set(state.digestBeforeStart, at + DIGEST_BYTES)
  return bytes
}

/** Whether the head was written by the version before, whose log rows cannot be read any more. */
export function isFormerHead(stored: Uint8Array): boolean {
  return stored[0] === FORMER_VERSION
}

export function decodeHead(stored: Uint8Array): LogState {
  if (stored[0] !== VERSION && !isFormerHead(stored)) {
    throw new LoggedStoreError('REPLICATION_NEWER_FORMAT', `logged store has format ${stored[0]}, known is ${VERSION}`)
  }
  if (stored.byteLength !== HEAD_BYTES) throw corrupt('the log head')
  const bytes = Buffer.from(stored)
  const number = (place: number) => bytes.readUIntBE(1 + 6 * place, 6)
  const digests = 1 + 5 * 6
  return {
    epoch: number(0),
    index: number(1),
    bytes: number(2),
    start: number(3),
    bytesBeforeStart: number(4),
    digest: digestAt(bytes, digests),
    digestBeforeStart: digestAt(bytes, digests + DIGEST_BYTES),
  }
}

export function corrupt(what: string): LoggedStoreError {
  return new LoggedStoreError('REPLICATION_CORRUPT', `${what} is malformed`)
}

/** A copy, so that what it was read from need not stay in memory. */
function digestAt(bytes: Uint8Array, at: number): Uint8Array {
  const digest = new Uint8Array(DIGEST_BYTES)
  digest.set(bytes.subarray(at, at + DIGEST_BYTES))
  return digest
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
