import type { Transaction } from '@lockstep/backend'
import { BackendError, field, type Path, type PathRequest, path } from '@lockstep/backend'
import { decodeKeyRecord, encodeKeyRecord, type KeyRecord, type KeyVersion, keyRecordKey } from './key-record.ts'
import { destroyVersion, findVersion, isReadable } from './versions.ts'

const fields = { versions: field.commaIntList({ description: 'Version numbers; unknown ones are ignored.' }) }

type Change = (version: KeyVersion, record: KeyRecord, transaction: Transaction, key: string) => Promise<void> | void

/** `delete/`, `undelete/` and `destroy/`: changes of given versions. */
export function versionPaths(now: () => number): Path[] {
  function apply(change: Change, missing: string) {
    return async (request: PathRequest<`${string}/:path*`, typeof fields>): Promise<undefined> => {
      const numbers = request.field.versions ?? []
      if (numbers.length === 0) throw new BackendError('BACKEND_INVALID_REQUEST', missing)
      const key = request.params.path
      await request.storage.transaction(async (transaction) => {
        const bytes = await transaction.get(keyRecordKey(key))
        if (bytes === undefined) return
        const record = decodeKeyRecord(bytes)
        for (const number of numbers) {
          const version = findVersion(record.metadata, number)
          if (version !== undefined) await change(version, record, transaction, key)
        }
        record.metadata.updated = now()
        await transaction.put(keyRecordKey(key), encodeKeyRecord(record))
      })
    }
  }

  return [
    path('delete/:path*', {
      help: 'Soft-deletes versions: their data can be had back with undelete.',
      fields,
      operations: {
        update: apply((version) => {
          if (isReadable(version, now())) version.deleted = now()
        }, 'No version number provided'),
      },
    }),
    path('undelete/:path*', {
      help: 'Takes the deletion of versions back.',
      fields,
      operations: {
        update: apply((version) => {
          if (!version.destroyed) version.deleted = 0
        }, 'No version number provided'),
      },
    }),
    path('destroy/:path*', {
      help: 'Removes the data of versions for good.',
      fields,
      operations: {
        update: apply((version, record, transaction, key) => {
          if (!version.destroyed) return destroyVersion(transaction, key, record, version)
          return undefined
        }, 'no version number provided'),
      },
    }),
  ]
}
