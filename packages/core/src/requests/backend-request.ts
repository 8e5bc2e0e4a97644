import type { BackendRequest, Operation } from '@lockstep/backend'
import type { CoreBackendRequest, CoreRequest, RoutedMount } from '../contracts.ts'
import type { Access } from './authorization.ts'
import { callerOf } from './caller.ts'

const noHeaders: Readonly<Record<string, string>> = Object.freeze({})

/** The part of a full path below the mount; "" for the mount itself, with or without its slash. */
export function pathBelow(mount: RoutedMount, path: string): string {
  return path.slice(mount.point.length)
}

export function backendRequest(
  request: CoreRequest,
  mount: RoutedMount,
  access: Pick<Access, 'token' | 'acl'>,
  operation: Operation,
): BackendRequest {
  const { token } = access
  const result: BackendRequest = {
    id: request.id,
    operation,
    path: pathBelow(mount, request.path),
    data: request.data,
    mountPoint: mount.point,
    mountAccessor: mount.entry.accessor,
    headers: passedThrough(request, mount),
    remoteAddress: request.remoteAddress,
    wrapTtl: request.wrapTtl,
    storage: mount.storage,
  }
  if (token !== undefined) result.caller = callerOf(token)
  if (!mount.builtin) return result
  const builtin: CoreBackendRequest = { ...result, source: request }
  if (token !== undefined) builtin.token = token
  if (access.acl !== undefined) builtin.acl = access.acl
  return builtin
}

function passedThrough(request: CoreRequest, mount: RoutedMount): Readonly<Record<string, string>> {
  if (mount.builtin) return request.headers
  const names = mount.entry.config.passthrough_request_headers
  if (names === undefined || names.length === 0) return noHeaders
  const headers: Record<string, string> = {}
  for (const name of names) {
    const lower = name.toLowerCase()
    const value = request.headers[lower]
    if (value !== undefined) headers[lower] = value
  }
  return headers
}
