/**
 * One key's record, `key/<path>`: its metadata and, beside it, the data of the current version, so that the common read is one
 * get. Data of older versions is in `version/<path>/<number>`.
 *
 * | bytes | meaning |
 * |---|---|
 * | 1 | format, 1 |
 * | 4 | length of the metadata, big-endian |
 * | … | metadata, UTF-8 JSON of `KeyMetadata` |
 * | … | current version's data (encodeExactJson); empty when destroyed or when there is no version |
 */
import { jsonText } from '@lockstep/backend'

/** Times in milliseconds since the epoch. `deleted` 0 = never; in the future = scheduled. */
export interface KeyVersion {
  number: number
  created: number
  deleted: number
  destroyed: boolean
}

export interface KeyMetadata {
  created: number
  updated: number
  /** 0 = no version was written yet. */
  current: number
  /** Lowest number still kept, 0 until the first was dropped. */
  oldest: number
  /** 0 = the mount's. */
  maxVersions: number
  casRequired: boolean
  /** Seconds, 0 = the mount's. */
  deleteVersionAfter: number
  custom: Record<string, string> | null
  /** Ascending by number. */
  versions: KeyVersion[]
}

export interface KeyRecord {
  metadata: KeyMetadata
  /** Encoded data of the current version; empty when it has none. */
  currentData: Uint8Array
}

export const noData = new Uint8Array(0)

const format = 1
const headerLength = 5

export function keyRecordKey(path: string): string {
  return `key/${path}`
}

export function versionKey(path: string, number: number): string {
  return `version/${path}/${number}`
}

export function newMetadata(now: number): KeyMetadata {
  return {
    created: now,
    updated: now,
    current: 0,
    oldest: 0,
    maxVersions: 0,
    casRequired: false,
    deleteVersionAfter: 0,
    custom: null,
    versions: [],
  }
}

export function encodeKeyRecord(record: KeyRecord): Buffer {
  const versions = record.metadata.versions.map((v) => [v.number, v.created, v.deleted, v.destroyed ? 1 : 0])
  const text = JSON.stringify({ ...record.metadata, versions })
  const length = Buffer.byteLength(text)
  const bytes = Buffer.allocUnsafe(headerLength + length + record.currentData.length)
  bytes[0] = format
  bytes.writeUInt32BE(length, 1)
  bytes.write(text, headerLength)
  bytes.set(record.currentData, headerLength + length)
  return bytes
}

/** @throws SyntaxError when the record is damaged */
export function decodeKeyRecord(bytes: Uint8Array): KeyRecord {
  if (bytes[0] !== format || bytes.length < headerLength) throw new SyntaxError('unknown key record')
  const end = headerLength + new DataView(bytes.buffer, bytes.byteOffset).getUint32(1)
  if (end > bytes.length) throw new SyntaxError('key record is cut off')
  const metadata = JSON.parse(jsonText(bytes.subarray(headerLength, end)))
  metadata.versions = metadata.versions.map((v: [number, number, number, 0 | 1]) => ({
    number: v[0],
    created: v[1],
    deleted: v[2],
    destroyed: v[3] === 1,
  }))
  return { metadata, currentData: bytes.subarray(end) }
}
