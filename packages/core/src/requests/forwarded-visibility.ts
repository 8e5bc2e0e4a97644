import type { AuditBroker, CoreRequest, MountTable, RoutedMount } from '../contracts.ts'
import { pathSet } from './special-paths.ts'

/** The shared state of built-in mounts. Everything else they do is a cluster's own business and is never done for another. */
const sharedBuiltinPaths = pathSet([
  'sys/audit/*',
  'sys/auth/*',
  'sys/config/auditing/*',
  'sys/config/cors',
  'sys/config/ui/headers/*',
  'sys/mounts/*',
  'sys/policies/*',
  'sys/policy/*',
  'sys/remount',
  'auth/token/roles/*',
])

export interface VisibilityComponents {
  mounts: MountTable
  audit: AuditBroker
}

/** The mount a secondary's request reaches on the primary, or undefined where, for that secondary, there is nothing. */
export function visibleMount(
  { mounts, audit }: VisibilityComponents,
  { path, data }: Pick<CoreRequest, 'path' | 'data'>,
  allowed: (mountPoint: string) => boolean,
): RoutedMount | undefined {
  const mount = mounts.route(path)
  if (mount === undefined || !sharedWith(mount)) return undefined
  if (!mount.builtin) return mount
  const administered = administeredPath(path, data)
  if (administered !== undefined) {
    const target = mounts.route(administered)
    if (target !== undefined && !sharedWith(target)) return undefined
  }
  if (path.startsWith('sys/audit/') && audit.list()[slashed(path.slice('sys/audit/'.length))]?.local) return undefined
  return mount

  function sharedWith({ entry, builtin, point }: RoutedMount): boolean {
    if (entry.local || entry.tainted) return false
    return builtin ? sharedBuiltinPaths(path) : allowed(point)
  }
}

/**
 * Whether a secondary may ask the primary to do all of a request, as far as the secondary can tell: what is local here stays here. A mount
 * that is not known here may be known there.
 */
export function answerableByPrimary(
  components: VisibilityComponents,
  request: Pick<CoreRequest, 'path' | 'data'>,
): boolean {
  const mount = components.mounts.route(request.path)
  if (mount === undefined) return true
  if (mount.builtin && request.data.local) return false
  return visibleMount(components, request, () => true) !== undefined
}

/** The mount that a request to sys/ administers, as a path below it. */
function administeredPath(path: string, data: Record<string, unknown>): string | undefined {
  if (path.startsWith('sys/mounts/')) return slashed(path.slice('sys/mounts/'.length))
  if (path.startsWith('sys/auth/')) return `auth/${slashed(path.slice('sys/auth/'.length))}`
  return path === 'sys/remount' ? slashed(String(data.from ?? '')) : undefined
}

/** Without slashes before it, as the backend reads it. */
function slashed(path: string): string {
  return `${path.replace(/^\/+|\/+$/g, '')}/`
}
