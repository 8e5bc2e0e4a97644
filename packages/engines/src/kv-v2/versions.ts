import { encodeExactJson, type Transaction } from '@lockstep/backend'
import type { MountConfig } from './config.ts'
import {
  encodeKeyRecord,
  type KeyMetadata,
  type KeyRecord,
  type KeyVersion,
  keyRecordKey,
  noData,
  versionKey,
} from './key-record.ts'

const defaultMaxVersions = 10

export function findVersion(metadata: KeyMetadata, number: number): KeyVersion | undefined {
  return metadata.versions.find((version) => version.number === number)
}

/** Whether the version's data may be shown. */
export function isReadable(version: KeyVersion, now: number): boolean {
  return !version.destroyed && (version.deleted === 0 || version.deleted > now)
}

/** Adds a version with `data` as the current one, moves the former aside and drops those past the limit. */
export async function addVersion(
  transaction: Transaction,
  path: string,
  record: KeyRecord,
  data: Record<string, unknown>,
  config: MountConfig,
  now: number,
): Promise<KeyVersion> {
  const { metadata } = record
  const former = metadata.current
  const after = deleteAfter(metadata, config)
  const version = { number: former + 1, created: now, deleted: after === 0 ? 0 : now + after * 1000, destroyed: false }
  metadata.versions.push(version)
  metadata.current = version.number
  metadata.updated = now

  const dropped = dropOldVersions(metadata, config)
  if (record.currentData.length > 0 && !dropped.includes(former)) {
    await transaction.put(versionKey(path, former), record.currentData)
  }
  for (const number of dropped) if (number !== former) await transaction.delete(versionKey(path, number))
  record.currentData = encodeExactJson(data)
  await transaction.put(keyRecordKey(path), encodeKeyRecord(record))
  return version
}

/** Removes a version's data for good. */
export async function destroyVersion(
  transaction: Transaction,
  path: string,
  record: KeyRecord,
  version: KeyVersion,
): Promise<void> {
  version.destroyed = true
  if (version.number === record.metadata.current) record.currentData = noData
  else await transaction.delete(versionKey(path, version.number))
}

function dropOldVersions(metadata: KeyMetadata, config: MountConfig): number[] {
  const limit = Math.max(metadata.maxVersions, config.maxVersions) || defaultMaxVersions
  if (metadata.current - metadata.oldest < limit) return []
  metadata.oldest = metadata.current - limit + 1
  const dropped = metadata.versions.filter((version) => version.number < metadata.oldest)
  metadata.versions = metadata.versions.filter((version) => version.number >= metadata.oldest)
  return dropped.map((version) => version.number)
}

// The mount's limit caps the key's; a negative mount value switches the feature off.
function deleteAfter(metadata: KeyMetadata, config: MountConfig): number {
  if (config.deleteVersionAfter < 0) return 0
  if (config.deleteVersionAfter === 0) return metadata.deleteVersionAfter
  if (metadata.deleteVersionAfter === 0) return config.deleteVersionAfter
  return Math.min(metadata.deleteVersionAfter, config.deleteVersionAfter)
}
