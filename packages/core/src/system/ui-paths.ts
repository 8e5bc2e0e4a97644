import type { BackendRequest, BackendResponse, Path } from '@lockstep/backend'
import { path } from '@lockstep/backend'
import { type CoreBackendRequest, type CoreBackendResponse, CoreError, type MountEntry } from '../contracts.ts'
import type { SystemComponents } from './components.ts'
import { mountInfo } from './mount-info.ts'

/** sys/internal/ui: what the UI and the kv commands ask before anything else. */
export function uiPaths({ mounts, version }: SystemComponents): Path[] {
  function visible(request: CoreBackendRequest, table: 'secret' | 'auth'): Record<string, unknown> {
    const shown: Record<string, unknown> = {}
    for (const entry of mounts.entries(table)) {
      const point = table === 'auth' ? `auth/${entry.path}` : entry.path
      if (request.acl?.hasAccessUnder(point)) shown[entry.path] = mountInfo(entry, version)
      else if (entry.config.listing_visibility === 'unauth') shown[entry.path] = publicInfo(entry)
    }
    return shown
  }

  return [
    path('internal/ui/mounts', {
      operations: {
        read: (plain) => {
          const request = knownOrAnonymous(plain)
          return { data: { auth: visible(request, 'auth'), secret: visible(request, 'secret') } }
        },
      },
      help: 'The mounts the caller has any access to.',
    }),
    path('internal/ui/mounts/:path*', {
      operations: {
        read: (plain) => {
          const { acl } = knownOrAnonymous(plain)
          if (acl === undefined) throw denied('permission denied')
          const asked = plain.params.path
          const mount = mounts.route(asked)
          if (mount === undefined || mount.entry.tainted || !acl.hasAccessUnder(mount.point)) {
            throw denied(
              `preflight capability check returned 403, please ensure client's policies grant access to path "${asked.replace(/\/*$/, '/')}"`,
            )
          }
          return { data: { ...mountInfo(mount.entry, version), path: mount.entry.path } }
        },
      },
      help: 'The mount that serves a path.',
    }),
    path('internal/ui/resultant-acl', {
      operations: {
        read: (plain): BackendResponse => {
          const { acl } = plain as BackendRequest as CoreBackendRequest
          if (acl === undefined) throw denied('permission denied')
          return { data: acl.root ? { root: true } : { ...acl.describe() } }
        },
      },
      help: "The caller's policies, merged.",
    }),
    path('internal/ui/feature-flags', {
      operations: { read: (): CoreBackendResponse => ({ bare: { feature_flags: [] } }) },
    }),
    path('internal/ui/namespaces', { operations: { read: () => ({ data: {} }) } }),
  ]
}

/** No token is fine, a bad one is not. */
function knownOrAnonymous(plain: BackendRequest): CoreBackendRequest {
  const request = plain as CoreBackendRequest
  if (request.token === undefined && request.source.clientToken !== '') throw denied('permission denied')
  return request
}

function publicInfo(entry: MountEntry): Record<string, unknown> {
  return { description: entry.description, options: entry.options, type: entry.type }
}

function denied(message: string): CoreError {
  return new CoreError('CORE_PERMISSION_DENIED', message)
}
