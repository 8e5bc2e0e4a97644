/** `sys/replication/*` that mends: recover, reindex, merkle-check, and what a DR secondary has instead of `sys/`. */
import { BackendError, type BackendRequest, type BackendResponse, field, type Path, path } from '@lockstep/backend'
import type { ReplicationManager } from '../manager.ts'

/** Rejects unless the request carries a DR operation token and this is a DR secondary. */
export type DrConsent = (
  request: Pick<BackendRequest, 'path' | 'data' | 'remoteAddress'> & { field: { dr_operation_token: string } },
) => Promise<void>

const REINDEXING =
  'This cluster is rebuilding its Merkle index from its data in the background, and serves requests meanwhile. Progress is shown by sys/replication/status.'
const NOTHING_TO_FLUSH = 'skip_flush has no effect: every repair of the index is durable when it is made.'

const operationToken = { dr_operation_token: field.string({ default: '' }) }
const reindexFields = {
  diff: field.bool({ default: false }),
  force: field.bool({ default: false }),
  skip_flush: field.bool({ default: false }),
}

export function isDrSecondary(manager: Pick<ReplicationManager, 'mode'>): boolean {
  const mode = manager.mode('dr')
  return mode === 'secondary' || mode === 'bootstrapping'
}

export function maintenancePaths(manager: ReplicationManager, consent: DrConsent): Path[] {
  const reindex = async (input: { diff: boolean; force: boolean; skip_flush: boolean }): Promise<BackendResponse> => {
    await manager.care.reindex({ diff: input.diff, force: input.force })
    return { warnings: input.skip_flush ? [REINDEXING, NOTHING_TO_FLUSH] : [REINDEXING], status: 200 }
  }
  const check = async (): Promise<BackendResponse> => ({
    data: { merkle_corruption_report: await manager.care.check() },
  })
  const recover = (): BackendResponse => ({ warnings: manager.recover(), status: 200 })
  const onDr = 'replication/dr/secondary/'

  return [
    ...['replication/', 'replication/performance/', 'replication/dr/'].map((prefix) =>
      path(`${prefix}reindex`, {
        fields: reindexFields,
        operations: { update: async ({ field }) => reindex(field) },
        help: 'Rebuilds the Merkle index from the data.',
      }),
    ),
    // The API documents POST, its guide shows GET.
    path('replication/merkle-check', {
      operations: { read: check, update: check },
      help: 'Compares the Merkle index with the data.',
    }),
    path('replication/recover', {
      operations: { update: recover },
      help: 'Retries replication that has failed.',
    }),
    path(`${onDr}reindex`, {
      fields: { ...reindexFields, ...operationToken },
      operations: {
        update: async (request) => {
          await consent(request)
          return reindex(request.field)
        },
      },
    }),
    path(`${onDr}merkle-check`, {
      fields: operationToken,
      operations: {
        update: async (request) => {
          await consent(request)
          return check()
        },
      },
    }),
    path(`${onDr}recover`, {
      fields: operationToken,
      operations: {
        update: async (request) => {
          await consent(request)
          return recover()
        },
      },
    }),
    path(`${onDr}license/status`, {
      operations: {
        read: () => {
          if (!isDrSecondary(manager)) throw new BackendError('BACKEND_INVALID_REQUEST', 'Not a DR secondary.')
          return licenseStatus()
        },
      },
    }),
    // Vault's path table has the first, its list of unauthenticated paths the second.
    ...['config', 'sys/config'].map((folder) =>
      path(`replication/dr/secondary/${folder}/reload/:subsystem`, {
        fields: operationToken,
        operations: {
          update: async (request) => {
            await consent(request)
            return reloadSubsystem(request.params.subsystem)
          },
        },
      }),
    ),
    path('license/status', { operations: { read: licenseStatus }, help: 'No licence is needed.' }),
    path('config/reload/:subsystem', {
      operations: { update: ({ params }) => reloadSubsystem(params.subsystem) },
      help: 'Reloads the licence, of which there is none.',
    }),
  ]
}

/** In the form Vault's clients read, and true: no licence is loaded, for none is needed. */
function licenseStatus(): BackendResponse {
  return { data: { autoload_used: false, autoloaded: null, persisted_autoload: null } }
}

function reloadSubsystem(subsystem: string): undefined {
  if (subsystem !== 'license') {
    throw new BackendError(
      'BACKEND_INVALID_REQUEST',
      'subsystem: expected license; the configuration is reloaded by SIGHUP',
    )
  }
  return undefined
}
