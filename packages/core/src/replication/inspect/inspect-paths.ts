/** `sys/replication/.../inspect`: what secondaries hold, with counts and digests. Root or sudo, on a DR secondary its operation token. */
import { type BackendRequest, field, type Path, path } from '@lockstep/backend'
import type { ReplicationKind } from '../role-records.ts'
import { type FilterPreview, type Inspection, MAX_ROWS } from './inspect.ts'
import type { Inspector } from './inspect-roles.ts'

export interface InspectManager {
  readonly inspector: Inspector
}

/** Checks the DR operation token in the request; rejects when it does not hold. */
type Consent = (
  request: Pick<BackendRequest, 'path' | 'data' | 'remoteAddress'> & { field: { dr_operation_token: string } },
) => Promise<void>

const paging = { after: field.string({ default: '' }), limit: field.int({ default: MAX_ROWS }) }

export function inspectPaths(manager: InspectManager, consent: Consent): Path[] {
  const { inspector } = manager
  const ofPrimary = (kind: ReplicationKind): Path =>
    path(`replication/${kind}/primary/inspect/:id`, {
      fields: paging,
      operations: {
        read: async ({ params, field }) => ({ data: page(await inspector.secondary(kind, String(params.id)), field) }),
      },
    })
  return [
    ofPrimary('performance'),
    ofPrimary('dr'),
    path('replication/performance/secondary/inspect', {
      fields: paging,
      operations: { read: ({ field }) => ({ data: page(inspector.self('performance'), field) }) },
    }),
    path('replication/dr/secondary/inspect', {
      fields: { ...paging, dr_operation_token: field.string({ default: '' }) },
      operations: {
        update: async (request) => {
          await consent(request)
          return { data: page(inspector.self('dr'), request.field) }
        },
      },
    }),
  ]
}

/** The answer to a paths-filter request with `dry_run=true`. */
export function dryRun(id: string, preview: FilterPreview & { unmounted: string[] }): Record<string, unknown> {
  return { id, dry_run: true, ...preview }
}

type Rows = Pick<Inspection['mounts'][number], 'class' | 'uuid'>[]

/** `mounts` after the row `after` (`<class>/<uuid>`); `next` is what to go on with, "" at the end. */
function page<T extends { mounts: Rows }>(
  report: T,
  { after, limit }: { after: string; limit: number },
): Record<string, unknown> {
  const name = ({ class: storageClass, uuid }: Rows[number]): string => `${storageClass}/${uuid}`
  const from = after === '' ? 0 : report.mounts.findIndex((row) => name(row) === after) + 1
  const count = Math.min(Math.max(limit, 1), MAX_ROWS)
  const mounts = report.mounts.slice(from, from + count)
  const rest = report.mounts.length > from + count
  return { ...report, mounts, total: report.mounts.length, next: rest ? name(mounts.at(-1)!) : '' }
}
