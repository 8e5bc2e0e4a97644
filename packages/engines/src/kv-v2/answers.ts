import type { BackendResponse } from '@lockstep/backend'
import type { KeyMetadata, KeyVersion } from './key-record.ts'

/** 404 without any body, as Vault answers a patch of nothing. */
export const emptyNotFound: BackendResponse = { status: 404, raw: { contentType: 'application/json', body: '' } }

/** A version as clients see it, "" for no deletion. */
export function versionTimes(version: KeyVersion) {
  return {
    created_time: timestamp(version.created),
    deletion_time: version.deleted === 0 ? '' : timestamp(version.deleted),
    destroyed: version.destroyed,
  }
}

/** The `metadata` of a data reply. */
export function versionMetadata(metadata: KeyMetadata, version: KeyVersion): Record<string, unknown> {
  return { ...versionTimes(version), custom_metadata: metadata.custom, version: version.number }
}

export function timestamp(ms: number): string {
  return new Date(ms).toISOString()
}
