/**
 * A private place per token. Storage: `<cubbyholeId>/<path>`; core deletes that prefix when the token is revoked. Mount it as
 * `local`: a cubbyhole never replicates.
 */
import {
  BackendError,
  type BackendFactory,
  type BackendRequest,
  decodeExactJson,
  encodeExactJson,
  keyList,
  path,
  pathBackend,
} from '@lockstep/backend'

/** Secrets that only the token that wrote them can read. */
export function cubbyholeEngine(): BackendFactory {
  return () =>
    pathBackend({
      type: 'cubbyhole',
      paths: [
        path('', {
          help: "Lists the secrets of the caller's cubbyhole.",
          operations: {
            read: missingPath,
            update: missingPath,
            delete: missingPath,
            list: (request) => list(request, folderOf(request)),
          },
        }),
        path(':path*', {
          help: 'A secret only the calling token can see. It goes when the token goes.',
          exists: async (request) => (await request.storage.get(folderOf(request) + request.path)) !== undefined,
          operations: {
            async read(request) {
              const record = await request.storage.get(folderOf(request) + request.path)
              return record && { data: decodeExactJson(record) }
            },
            async update(request) {
              const folder = folderOf(request)
              if (Object.keys(request.data).length === 0) {
                throw new BackendError('BACKEND_INVALID_REQUEST', 'missing data fields')
              }
              await request.storage.put(folder + request.path, encodeExactJson(request.data))
              return undefined
            },
            async delete(request) {
              await request.storage.delete(folderOf(request) + request.path)
              return undefined
            },
            list: (request) => list(request, `${folderOf(request)}${request.params.path}/`),
          },
        }),
      ],
    })
}

async function list(request: BackendRequest, folder: string) {
  return keyList(await request.storage.list(folder))
}

function missingPath(): never {
  throw new BackendError('BACKEND_INVALID_REQUEST', 'missing path')
}

function folderOf(request: BackendRequest): string {
  const id = request.caller?.type === 'service' ? request.caller.cubbyholeId : ''
  if (id === '') {
    const message = "cubbyhole operations are only supported by 'service' type tokens"
    throw new BackendError('BACKEND_INVALID_REQUEST', message)
  }
  return `${id}/`
}
