/**
 * Key/value secrets without versions. Storage: one record per secret, under the secret's own path.
 */
import {
  BackendError,
  type BackendFactory,
  type BackendRequest,
  decodeExactJson,
  encodeExactJson,
  isLosslessNumber,
  keyList,
  parseDuration,
  path,
  pathBackend,
} from '@lockstep/backend'

/** `kv` version 1: read, write, delete and list of JSON objects. */
export function kvV1Engine(): BackendFactory {
  return (context) => {
    return pathBackend({
      type: 'kv',
      paths: [
        path('', {
          help: 'Lists the secrets of the mount.',
          operations: {
            read: () => undefined,
            list: (request) => list(request, ''),
            update: () => {
              throw new BackendError('BACKEND_INVALID_REQUEST', 'missing path')
            },
          },
        }),
        path(':path*', {
          help: 'A secret: any JSON object. A "ttl" in it is shown as the lease duration.',
          exists: async (request) => (await request.storage.get(request.path)) !== undefined,
          operations: {
            async read(request) {
              const record = await request.storage.get(request.path)
              if (record === undefined) return undefined
              const data = decodeExactJson(record)
              return { data, leaseDuration: leaseDuration(data, context.ttl().default) }
            },
            async update(request) {
              if (Object.keys(request.data).length === 0) {
                throw new BackendError('BACKEND_INVALID_REQUEST', 'missing data fields')
              }
              await request.storage.put(request.path, encodeExactJson(request.data))
              return undefined
            },
            async delete(request) {
              await request.storage.delete(request.path)
              return undefined
            },
            list: (request) => list(request, `${request.params.path}/`),
          },
        }),
      ],
    })
  }
}

async function list(request: BackendRequest, folder: string) {
  return keyList(await request.storage.list(folder))
}

function leaseDuration(data: Record<string, unknown>, fallback: number): number {
  const wish = Object.hasOwn(data, 'ttl') ? data.ttl : Object.hasOwn(data, 'lease') ? data.lease : undefined
  if (wish === undefined) return fallback
  if (typeof wish !== 'string' && typeof wish !== 'number' && !isLosslessNumber(wish))
    return wish === null ? 0 : fallback
  try {
    return parseDuration(wish.toString())
  } catch {
    return fallback
  }
}
