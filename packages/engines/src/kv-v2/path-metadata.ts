import {
  type BackendResponse,
  field,
  formatDuration,
  keyList,
  type Path,
  type PathRequest,
  path,
} from '@lockstep/backend'
import { emptyNotFound, timestamp, versionTimes } from './answers.ts'
import { checkMaxVersions } from './config.ts'
import { customMetadata } from './custom-metadata.ts'
import {
  decodeKeyRecord,
  encodeKeyRecord,
  type KeyMetadata,
  keyRecordKey,
  newMetadata,
  noData,
  versionKey,
} from './key-record.ts'

const fields = {
  max_versions: field.int({ description: "Versions kept of this key; 0 = the mount's." }),
  cas_required: field.bool({ description: 'Whether writes must carry options.cas.' }),
  delete_version_after: field.duration({ description: "Age at which new versions are deleted; 0 = the mount's." }),
  custom_metadata: field.map({ description: 'Up to 64 texts describing the key.' }),
}
type Request = PathRequest<'metadata/:path*', typeof fields>

export function metadataPath(now: () => number): Path {
  async function read(request: Request): Promise<BackendResponse | undefined> {
    const bytes = await request.storage.get(keyRecordKey(request.params.path))
    return bytes && { data: shown(decodeKeyRecord(bytes).metadata) }
  }

  async function write(request: Request): Promise<undefined> {
    checkMaxVersions(request.field.max_versions)
    const custom = request.field.custom_metadata && customMetadata(request.field.custom_metadata)
    const change = settings(request)
    if (Object.keys(change).length === 0 && custom === undefined) return
    const key = keyRecordKey(request.params.path)
    await request.storage.transaction(async (transaction) => {
      const bytes = await transaction.get(key)
      const record = bytes ? decodeKeyRecord(bytes) : { metadata: newMetadata(now()), currentData: noData }
      Object.assign(record.metadata, change, { updated: now() })
      if (custom !== undefined) record.metadata.custom = withoutNulls(custom)
      await transaction.put(key, encodeKeyRecord(record))
    })
  }

  /** Like write, but nothing is created, null resets, and custom_metadata is merged. */
  async function patch(request: Request): Promise<BackendResponse | undefined> {
    checkMaxVersions(request.field.max_versions)
    const resetCustom = request.data.custom_metadata === null
    const custom = resetCustom
      ? undefined
      : request.field.custom_metadata && customMetadata(request.field.custom_metadata, { patch: true })
    const change = { ...settings(request), ...resets(request) }
    const key = keyRecordKey(request.params.path)
    return request.storage.transaction(async (transaction) => {
      const bytes = await transaction.get(key)
      if (bytes === undefined) return emptyNotFound
      if (Object.keys(change).length === 0 && custom === undefined && !resetCustom) return undefined
      const record = decodeKeyRecord(bytes)
      Object.assign(record.metadata, change, { updated: now() })
      if (resetCustom) record.metadata.custom = null
      if (custom !== undefined)
        record.metadata.custom = withoutNulls(customMetadata({ ...record.metadata.custom, ...custom }, { patch: true }))
      await transaction.put(key, encodeKeyRecord(record))
      return undefined
    })
  }

  async function remove(request: Request): Promise<undefined> {
    const { path: name } = request.params
    await request.storage.transaction(async (transaction) => {
      const bytes = await transaction.get(keyRecordKey(name))
      if (bytes === undefined) return
      const { metadata } = decodeKeyRecord(bytes)
      for (const version of metadata.versions) {
        if (version.number !== metadata.current && !version.destroyed) {
          await transaction.delete(versionKey(name, version.number))
        }
      }
      await transaction.delete(keyRecordKey(name))
    })
  }

  return path('metadata/:path*', {
    help: "Reads and changes a key's settings; delete removes the key with all versions; list shows the keys of a folder.",
    fields,
    exists: async (request) => (await request.storage.get(keyRecordKey(request.params.path))) !== undefined,
    operations: {
      read,
      update: write,
      patch,
      delete: remove,
      list: async (request) => keyList(await request.storage.list(keyRecordKey(`${request.params.path}/`))),
    },
  })
}

function settings(request: Request): Partial<KeyMetadata> {
  const { max_versions, cas_required, delete_version_after } = request.field
  return {
    ...(max_versions !== undefined && { maxVersions: max_versions }),
    ...(cas_required !== undefined && { casRequired: cas_required }),
    ...(delete_version_after !== undefined && { deleteVersionAfter: delete_version_after }),
  }
}

function resets(request: Request): Partial<KeyMetadata> {
  const { data } = request
  return {
    ...(data.max_versions === null && { maxVersions: 0 }),
    ...(data.cas_required === null && { casRequired: false }),
    ...(data.delete_version_after === null && { deleteVersionAfter: 0 }),
  }
}

function withoutNulls(custom: Record<string, string | null>): Record<string, string> | null {
  const entries = Object.entries(custom).filter((entry): entry is [string, string] => entry[1] !== null)
  return entries.length === 0 ? null : Object.fromEntries(entries)
}

function shown(metadata: KeyMetadata): Record<string, unknown> {
  return {
    cas_required: metadata.casRequired,
    created_time: timestamp(metadata.created),
    current_version: metadata.current,
    custom_metadata: metadata.custom,
    delete_version_after: formatDuration(metadata.deleteVersionAfter),
    max_versions: metadata.maxVersions,
    oldest_version: metadata.oldest,
    updated_time: timestamp(metadata.updated),
    versions: Object.fromEntries(metadata.versions.map((version) => [version.number, versionTimes(version)])),
  }
}
