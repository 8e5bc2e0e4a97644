import type { AuditBroker, MountTable, RoutedMount } from '../contracts.ts'
import type { ForwardedRequest } from '../replication/forwarded-request.ts'
import { pathSet } from './special-paths.ts'

/** The shared state of built-in mounts. Everything else they do is a cluster's own business and is never done for another. */
const sharedBuiltinPaths = pathSet([
  'sys/audit/*',
  'sys/auth/*',
  'sys/config/*',
  'sys/mounts/*',
  'sys/policies/*',
  'sys/policy/*',
  'sys/remount',
  'auth/token/roles/*',
])

/** The mount a secondary's request reaches on the primary, or undefined where, for that secondary, there is nothing. */
export function visibleMount(
  { mounts, audit }: { mounts: MountTable; audit: AuditBroker },
  { path, data }: ForwardedRequest,
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

/** The mount that a request to sys/ administers, as a path below it. */
function administeredPath(path: string, data: Record<string, unknown>): string | undefined {
  if (path.startsWith('sys/mounts/')) return slashed(path.slice('sys/mounts/'.length))
  if (path.startsWith('sys/auth/')) return slashed(path.slice('sys/'.length))
  return path === 'sys/remount' ? slashed(String(data.from ?? '')) : undefined
}

function slashed(path: string): string {
  return path.endsWith('/') ? path : `${path}/`
}
