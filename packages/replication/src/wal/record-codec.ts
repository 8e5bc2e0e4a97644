/**
 * Binary form of a WAL record. Deterministic (one record has exactly one encoding), because it is hashed.
 *
 * | bytes | field | notes |
 * | --- | --- | --- |
 * | 1 | version | 1 |
 * | 8 | epoch | big-endian, at most 2^53 - 1 |
 * | 8 | index | big-endian, at most 2^53 - 1 |
 * | 4 | operation count | |
 * | ... | operations | each as below, nothing after the last |
 *
 * | bytes | operation field | notes |
 * | --- | --- | --- |
 * | 1 | flags | bit 0: class local (else replicated); bit 1: has a value (else deletion); others zero |
 * | 2 + n | mount | length, UTF-8 |
 * | 2 + n | mount path | length, UTF-8 |
 * | 4 + n | key | length, UTF-8 |
 * | 4 + n | value | only when bit 1 of flags is set |
 */
import { isUtf8 } from 'node:buffer'
import { ReplicationError } from '../errors.ts'
import type { WalOperation, WalRecord } from '../types.ts'

export const RECORD_LIMITS = {
  /** UTF-8 bytes of a mount id. */
  mountBytes: 256,
  /** UTF-8 bytes of a mount path (namespaces included). */
  mountPathBytes: 4096,
  /** UTF-8 bytes of a storage key. */
  keyBytes: 16_384,
  valueBytes: 16 * 1024 * 1024,
  operations: 1_000_000,
  /** Whole encoded record. */
  recordBytes: 32 * 1024 * 1024,
} as const

const VERSION = 1
const HEADER_BYTES = 21
const FLAG_LOCAL = 1
const FLAG_VALUE = 2
/** flags, three lengths, a one-byte mount and a one-byte key. */
const MIN_OPERATION_BYTES = 11

/** Throws `REPLICATION_INVALID_RECORD` when the record breaks `RECORD_LIMITS` or holds a string that is not well-formed. */
export function encodeRecord(record: WalRecord): Uint8Array {
  const { operations } = record
  if (operations.length > RECORD_LIMITS.operations) throw invalid('too many operations')
  let size = HEADER_BYTES
  for (const operation of operations) size += operationBytes(operation)
  if (size > RECORD_LIMITS.recordBytes) throw invalid(`record of ${size} bytes is over the limit`)

  const bytes = Buffer.allocUnsafe(size)
  bytes[0] = VERSION
  writeInteger(bytes, 1, record.epoch, 'epoch')
  writeInteger(bytes, 9, record.index, 'index')
  bytes.writeUInt32BE(operations.length, 17)
  let at = HEADER_BYTES
  for (const operation of operations) at = writeOperation(bytes, at, operation)
  return bytes
}

/** The values share memory with `bytes`. Throws `REPLICATION_INVALID_RECORD` for anything `encodeRecord` cannot have written. */
export function decodeRecord(bytes: Uint8Array): WalRecord {
  if (bytes.length > RECORD_LIMITS.recordBytes) throw invalid('record is over the limit')
  const reader = recordReader(bytes)
  if (reader.byte() !== VERSION) throw invalid('unknown record version')
  const epoch = reader.integer()
  const index = reader.integer()
  const count = reader.uint32()
  if (count > RECORD_LIMITS.operations || count * MIN_OPERATION_BYTES > reader.left()) {
    throw invalid('operation count does not fit the record')
  }
  const operations: WalOperation[] = []
  for (let i = 0; i < count; i++) {
    const flags = reader.byte()
    if (flags > (FLAG_LOCAL | FLAG_VALUE)) throw invalid('unknown operation flags')
    const mount = reader.text(reader.uint16(), 1, RECORD_LIMITS.mountBytes)
    if (mount.includes('/')) throw invalid('slash in a mount id')
    const mountPath = reader.text(reader.uint16(), 0, RECORD_LIMITS.mountPathBytes)
    const key = reader.text(reader.uint32(), 1, RECORD_LIMITS.keyBytes)
    const value = flags & FLAG_VALUE ? reader.slice(reader.uint32(), RECORD_LIMITS.valueBytes) : undefined
    operations.push({ partition: { class: flags & FLAG_LOCAL ? 'local' : 'replicated', mount }, mountPath, key, value })
  }
  if (reader.left() !== 0) throw invalid('bytes after the last operation')
  return { epoch, index, operations }
}

function operationBytes(operation: WalOperation): number {
  const { mount } = operation.partition
  if (mount.includes('/')) throw invalid('slash in a mount id')
  const valueBytes = operation.value?.length
  if (valueBytes !== undefined && valueBytes > RECORD_LIMITS.valueBytes) throw invalid('value is over the limit')
  return (
    9 +
    textBytes(mount, 1, RECORD_LIMITS.mountBytes) +
    textBytes(operation.mountPath, 0, RECORD_LIMITS.mountPathBytes) +
    textBytes(operation.key, 1, RECORD_LIMITS.keyBytes) +
    (valueBytes === undefined ? 0 : 4 + valueBytes)
  )
}

function textBytes(text: string, least: number, most: number): number {
  // A lone surrogate would be stored as U+FFFD: two keys with one encoding.
  if (!isWellFormed(text)) throw invalid('text is not well-formed Unicode')
  const length = Buffer.byteLength(text)
  if (length < least || length > most) throw invalid(`text of ${length} bytes is not within ${least} to ${most}`)
  return length
}

function writeOperation(bytes: Buffer, start: number, operation: WalOperation): number {
  const { partition, mountPath, key, value } = operation
  let at = start
  bytes[at++] = (partition.class === 'local' ? FLAG_LOCAL : 0) | (value === undefined ? 0 : FLAG_VALUE)
  const mountBytes = bytes.write(partition.mount, at + 2)
  at = bytes.writeUInt16BE(mountBytes, at) + mountBytes
  const pathBytes = bytes.write(mountPath, at + 2)
  at = bytes.writeUInt16BE(pathBytes, at) + pathBytes
  const keyBytes = bytes.write(key, at + 4)
  at = bytes.writeUInt32BE(keyBytes, at) + keyBytes
  if (value !== undefined) {
    at = bytes.writeUInt32BE(value.length, at)
    bytes.set(value, at)
    at += value.length
  }
  return at
}

function recordReader(source: Uint8Array) {
  const bytes = Buffer.from(source.buffer, source.byteOffset, source.byteLength)
  let at = 0
  const take = (length: number): number => {
    if (length > bytes.length - at) throw invalid('record ends early')
    const start = at
    at += length
    return start
  }
  return {
    left: () => bytes.length - at,
    byte: () => bytes[take(1)]!,
    uint16: () => bytes.readUInt16BE(take(2)),
    uint32: () => bytes.readUInt32BE(take(4)),
    integer() {
      const start = take(8)
      const value = bytes.readUInt32BE(start) * 2 ** 32 + bytes.readUInt32BE(start + 4)
      if (!Number.isSafeInteger(value)) throw invalid('integer is over 2^53 - 1')
      return value
    },
    slice(length: number, most: number): Uint8Array {
      if (length > most) throw invalid('length is over the limit')
      const start = take(length)
      return source.subarray(start, start + length)
    },
    text(length: number, least: number, most: number): string {
      if (length < least || length > most) throw invalid('length is not within the limits')
      const start = take(length)
      if (!isUtf8(bytes.subarray(start, start + length))) throw invalid('text is not UTF-8')
      return bytes.toString('utf8', start, start + length)
    },
  }
}

function writeInteger(bytes: Buffer, at: number, value: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < 0) throw invalid(`${what} is not a whole number within 0 to 2^53 - 1`)
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at)
  bytes.writeUInt32BE(value % 2 ** 32, at + 4)
}

// In Node 20 and later; not yet in the ES2023 library types.
function isWellFormed(text: string): boolean {
  return (text as string & { isWellFormed(): boolean }).isWellFormed()
}

function invalid(message: string): ReplicationError {
  return new ReplicationError('REPLICATION_INVALID_RECORD', message)
}
