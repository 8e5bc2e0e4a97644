/**
 * `sys/storage/snapshot` and Vault's path of the same meaning: save and restore. Restoring replaces everything, so it asks for sudo;
 * whoever may read the path may save, as in Vault, since what is saved is ciphertext.
 */
import { type Path, path } from '@lockstep/backend'
import { type CoreBackendRequest, type CoreBackendResponse, CoreError, type CoreRequest } from '../contracts.ts'
import type { Snapshots } from './snapshots.ts'

const BASES = ['storage/snapshot', 'storage/raft/snapshot']

/** Relative to sys/. */
export const snapshotSudo: readonly string[] = BASES.map((base) => `${base}-force`)

export function snapshotPaths(snapshots: Snapshots): Path[] {
  const save = async ({ source }: CoreBackendRequest): Promise<CoreBackendResponse> => {
    if (source.wrapTtl > 0) throw invalid('a snapshot cannot be wrapped')
    return { stream: { contentType: 'application/gzip', body: await snapshots.save() } }
  }
  const restore = async (request: CoreBackendRequest, force: boolean): Promise<CoreBackendResponse> => {
    const { source, acl } = request
    if (!acl?.authorize(sudoQuery(source)).sudo) throw new CoreError('CORE_PERMISSION_DENIED', 'permission denied')
    if (source.body === undefined) throw invalid('no snapshot: the request has no body')
    return { conclusion: await snapshots.restore(source.body, { force }) }
  }
  return BASES.flatMap((base) => [
    path(base, {
      operations: {
        read: (request) => save(request as unknown as CoreBackendRequest),
        update: (request) => restore(request as unknown as CoreBackendRequest, false),
      },
      help: 'Save all that is stored, or replace it by what was saved from this cluster.',
    }),
    path(`${base}-force`, {
      operations: { update: (request) => restore(request as unknown as CoreBackendRequest, true) },
      help: 'Replace all that is stored by what was saved, from whatever cluster and under whatever keys.',
    }),
  ])
}

function sudoQuery({ operation, path: full, data, wrapTtl }: CoreRequest) {
  return { operation, path: full, data, wrapTtl, needsSudo: true }
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
