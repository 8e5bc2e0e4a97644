import { type BackendResponse, keyList, type Path, path } from '@lockstep/backend'
import { keyRecordKey } from './key-record.ts'

const rootWarning = 'Non-listing operations on the root of a K/V v2 mount are not supported.'

/** Paths outside the API: people who use version 1 paths are told so. */
export function invalidPaths(): Path[] {
  const told = (command: string) => (): BackendResponse => ({
    status: 404,
    warnings: [
      'Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. ' +
        `If using the Vault CLI, use 'vault kv ${command}' for this operation.`,
    ],
  })
  const root = (): BackendResponse => ({ status: 404, warnings: [rootWarning] })
  const operations = {
    read: told('get'),
    update: told('put'),
    patch: told('patch'),
    delete: told('delete'),
    list: told('list'),
  }
  return [
    path('', { operations }),
    path(':path*', { operations }),
    path('data', { operations: { read: root, update: root, patch: root, delete: root } }),
    path('metadata', {
      help: 'Lists the keys of the mount.',
      operations: {
        read: root,
        update: root,
        patch: root,
        delete: root,
        list: async (request) => keyList(await request.storage.list(keyRecordKey(''))),
      },
    }),
  ]
}
