import {
  BackendError,
  type BackendResponse,
  decodeExactJson,
  field,
  isLosslessNumber,
  type Path,
  type PathRequest,
  path,
  type Transaction,
} from '@lockstep/backend'
import { emptyNotFound, versionMetadata } from './answers.ts'
import type { MountConfig, MountConfigStore } from './config.ts'
import { decodeKeyRecord, encodeKeyRecord, type KeyRecord, keyRecordKey, newMetadata, noData } from './key-record.ts'
import { mergePatch } from './merge-patch.ts'
import { readVersion } from './stored-version.ts'
import { addVersion, findVersion, isReadable } from './versions.ts'

const fields = {
  version: field.int({ description: 'Version to read; default the current one.' }),
  data: field.map({ description: 'The secret, any JSON object.' }),
  options: field.map({ description: '"cas": the version the write expects to replace, 0 = none exists.' }),
}
type Request = PathRequest<'data/:path*', typeof fields>

export function dataPath(configs: MountConfigStore, now: () => number): Path {
  async function read(request: Request): Promise<BackendResponse | undefined> {
    const found = await readVersion(request.storage, request.params.path, request.field.version ?? 0, now())
    if (found === undefined) return undefined
    const metadata = versionMetadata(found.metadata, found.version)
    if (found.data === undefined) return { status: 404, data: { data: null, metadata } }
    return { data: { data: decodeExactJson(found.data), metadata } }
  }

  async function write(request: Request): Promise<BackendResponse> {
    const data = givenData(request)
    const config = await configs.get()
    return request.storage.transaction(async (transaction) => {
      const record = (await readRecord(transaction, request.params.path)) ?? {
        metadata: newMetadata(now()),
        currentData: noData,
      }
      checkCas(request, record, config)
      return added(transaction, request, record, data, config)
    })
  }

  async function patch(request: Request): Promise<BackendResponse> {
    const change = givenData(request)
    const config = await configs.get()
    return request.storage.transaction(async (transaction) => {
      const record = await readRecord(transaction, request.params.path)
      const current = record && findVersion(record.metadata, record.metadata.current)
      if (record === undefined || current === undefined) return emptyNotFound
      checkCas(request, record, config)
      if (!isReadable(current, now())) return { status: 404, data: versionMetadata(record.metadata, current) }
      const data = mergePatch(decodeExactJson(record.currentData), change)
      return added(transaction, request, record, data, config)
    })
  }

  async function added(
    transaction: Transaction,
    request: Request,
    record: KeyRecord,
    data: Record<string, unknown>,
    config: MountConfig,
  ): Promise<BackendResponse> {
    const version = await addVersion(transaction, request.params.path, record, data, config, now())
    return { data: versionMetadata(record.metadata, version) }
  }

  async function remove(request: Request): Promise<undefined> {
    await request.storage.transaction(async (transaction) => {
      const record = await readRecord(transaction, request.params.path)
      const current = record && findVersion(record.metadata, record.metadata.current)
      if (record === undefined || current === undefined || !isReadable(current, now())) return
      current.deleted = now()
      record.metadata.updated = now()
      await transaction.put(keyRecordKey(request.params.path), encodeKeyRecord(record))
    })
  }

  return path('data/:path*', {
    help: 'Reads, writes, patches (RFC 7396) and soft-deletes the current version of a secret.',
    fields,
    exists: async (request) => (await request.storage.get(keyRecordKey(request.params.path))) !== undefined,
    operations: { read, update: write, patch, delete: remove },
  })
}

async function readRecord(transaction: Transaction, key: string): Promise<KeyRecord | undefined> {
  const bytes = await transaction.get(keyRecordKey(key))
  return bytes && decodeKeyRecord(bytes)
}

function givenData(request: Request): Record<string, unknown> {
  if (request.field.data === undefined) throw new BackendError('BACKEND_INVALID_REQUEST', 'no data provided')
  return request.field.data
}

// As lenient as Vault: null, "" and false are 0.
function casText(given: unknown): string {
  if (given === null || given === '' || given === false) return '0'
  if (given === true) return '1'
  return typeof given === 'string' || typeof given === 'number' || isLosslessNumber(given) ? given.toString() : ''
}

function checkCas(request: Request, record: KeyRecord, config: MountConfig): void {
  const given = request.field.options?.cas
  if (given === undefined) {
    if (!config.casRequired && !record.metadata.casRequired) return
    throw new BackendError('BACKEND_INVALID_REQUEST', 'check-and-set parameter required for this call')
  }
  const text = casText(given)
  if (!/^-?[0-9]{1,15}$/.test(text)) {
    throw new BackendError('BACKEND_INVALID_REQUEST', 'error parsing check-and-set parameter')
  }
  if (Number(text) !== record.metadata.current) {
    throw new BackendError('BACKEND_INVALID_REQUEST', 'check-and-set parameter did not match the current version')
  }
}
