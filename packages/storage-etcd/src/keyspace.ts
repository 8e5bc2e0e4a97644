import { randomBytes } from 'node:crypto'
import { type KeyBounds, StorageError } from '@lockstep/storage'

/**
 * | key below the prefix         | value                                                                              |
 * |------------------------------|------------------------------------------------------------------------------------|
 * | `format`                     | "1". Its mod revision is the epoch: whoever puts it again makes Txns fail that     |
 * |                              | were built before                                                                  |
 * | `deleted`                    | empty; put by every Txn that deletes                                               |
 * | `d/<key>`                    | 0 ‖ value, or 1 ‖ id (8 bytes) ‖ length (u32): the value is in parts               |
 * | `p/<key>\0<id, 16 hex>/<n>`  | part n (4 hex digits) of a value; counts only while `d/<key>` names the id         |
 * | `lock/<name>`                | of the leader lock; "=" ‖ what the leader published                                |
 *
 * Integers are big-endian.
 */
export interface Keyspace {
  readonly epoch: Buffer
  readonly deleted: Buffer
  readonly parts: Buffer
  readonly partsEnd: Buffer
  data(key: string): Buffer
  /** The key of a stored data key. */
  nameOf(stored: Buffer): string
  range(bounds: KeyBounds): { key: Buffer; end: Buffer }
  part(key: string, id: Buffer, number: number): Buffer
  /** All parts of one value. */
  partsOf(key: string, id: Buffer): { key: Buffer; end: Buffer }
  parsePart(stored: Buffer): { key: string; id: Buffer }
}

export const ID_BYTES = 8
/** "\0", the id in hexadecimal, "/", four digits. */
const PART_SUFFIX = 1 + ID_BYTES * 2 + 1 + 4
const LENGTH_BYTES = 4
const INLINE = 0
const IN_PARTS = 1

/** Longest value, bytes. */
export const MAX_VALUE_BYTES = 64 * 1024 * 1024

export const INLINE_HEADER = Buffer.from([INLINE])
/** Before each value, or instead of it. */
export const HEADER_BYTES = 1 + ID_BYTES + LENGTH_BYTES

export function keyspace(prefix: string): Keyspace {
  const dataPrefix = `${prefix}d/`
  const dataBytes = Buffer.byteLength(dataPrefix)
  const partsPrefix = `${prefix}p/`
  const partsBytes = Buffer.byteLength(partsPrefix)
  const partPrefix = (key: string, id: Buffer) => `${partsPrefix}${key}\0${id.toString('hex')}`
  return {
    epoch: Buffer.from(`${prefix}format`),
    deleted: Buffer.from(`${prefix}deleted`),
    parts: Buffer.from(partsPrefix),
    partsEnd: Buffer.from(`${prefix}p0`),
    data: (key) => Buffer.from(dataPrefix + key),
    nameOf: (stored) => stored.toString('utf8', dataBytes),
    range({ lower = '', lowerInclusive, upper }) {
      const first = lowerInclusive || lower === '' ? lower : successor(lower)
      // "0" follows "/".
      return {
        key: Buffer.from(dataPrefix + first),
        end: Buffer.from(upper === undefined ? `${prefix}d0` : dataPrefix + upper),
      }
    },
    part: (key, id, number) => Buffer.from(`${partPrefix(key, id)}/${number.toString(16).padStart(4, '0')}`),
    partsOf: (key, id) => ({
      key: Buffer.from(`${partPrefix(key, id)}/`),
      end: Buffer.from(`${partPrefix(key, id)}0`),
    }),
    parsePart(stored) {
      const cut = stored.byteLength - PART_SUFFIX
      const id = Buffer.from(stored.toString('latin1', cut + 1, cut + 1 + ID_BYTES * 2), 'hex')
      if (cut < partsBytes || stored[cut] !== 0 || id.byteLength !== ID_BYTES) {
        throw new StorageError('STORAGE_CORRUPT', `a key below ${JSON.stringify(partsPrefix)} is no part of a value`)
      }
      return { key: stored.toString('utf8', partsBytes, cut), id }
    },
  }
}

/** The least key greater than the key. */
export function successor(key: string): string {
  return `${key}\0`
}

export function newId(): Buffer {
  return randomBytes(ID_BYTES)
}

export function inPartsHeader(id: Buffer, length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES)
  header[0] = IN_PARTS
  header.set(id, 1)
  header.writeUInt32BE(length, 1 + ID_BYTES)
  return header
}

/** What a data key holds: the value, or where its parts are. */
export function readStored(key: string, stored: Buffer): Uint8Array | { id: Buffer; length: number } {
  // A copy, so that a small value does not keep the whole answer it came in.
  if (stored[0] === INLINE) return Uint8Array.prototype.slice.call(stored, 1)
  if (stored[0] === IN_PARTS && stored.byteLength === HEADER_BYTES) {
    const length = stored.readUInt32BE(1 + ID_BYTES)
    if (length <= MAX_VALUE_BYTES) return { id: Buffer.from(stored.subarray(1, 1 + ID_BYTES)), length }
  }
  throw new StorageError('STORAGE_CORRUPT', `key ${JSON.stringify(key)} holds nothing this version has written`)
}
