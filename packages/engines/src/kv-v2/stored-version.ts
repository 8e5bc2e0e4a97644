import type { Reader } from '@lockstep/backend'
import { decodeKeyRecord, type KeyMetadata, type KeyVersion, keyRecordKey, versionKey } from './key-record.ts'
import { findVersion, isReadable } from './versions.ts'

export interface StoredVersion {
  metadata: KeyMetadata
  version: KeyVersion
  /** Encoded; undefined when the version is deleted or destroyed. */
  data: Uint8Array | undefined
}

/** One get for the current version (`number` 0 or less), two for an older one. */
export async function readVersion(
  reader: Pick<Reader, 'get'>,
  path: string,
  number: number,
  now: number,
): Promise<StoredVersion | undefined> {
  const bytes = await reader.get(keyRecordKey(path))
  if (bytes === undefined) return undefined
  const { metadata, currentData } = decodeKeyRecord(bytes)
  const version = findVersion(metadata, number > 0 ? number : metadata.current)
  if (version === undefined) return undefined
  if (!isReadable(version, now)) return { metadata, version, data: undefined }
  if (version.number === metadata.current) return { metadata, version, data: currentData }
  const data = await reader.get(versionKey(path, version.number))
  // Between the two gets the version may have been dropped or destroyed: then it is not there any more.
  return data && { metadata, version, data }
}
