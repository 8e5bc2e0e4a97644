import type { CoreBackendResponse, CoreRequest, RoutedMount } from '../contracts.ts'
import { isReadOnly } from '../mounts/read-only.ts'
import type { Access } from './authorization.ts'
import { backendRequest, pathBelow } from './backend-request.ts'
import type { RequestComponents } from './components.ts'
import { specialPaths } from './special-paths.ts'

/**
 * Runs the request in its backend. On a performance secondary the whole request runs on the primary instead when the backend declares
 * so, or when it turns out to need a write of shared data. Local mounts never go to the primary.
 */
export async function backendCall(
  components: Pick<RequestComponents, 'forward' | 'isPerformanceSecondary'>,
  request: CoreRequest,
  mount: RoutedMount,
  access: Access,
): Promise<CoreBackendResponse | undefined> {
  const { forward } = components
  const forwardable = forward !== undefined && !mount.entry.local && (components.isPerformanceSecondary?.() ?? false)
  const asked = access.operation === request.operation ? request : { ...request, operation: access.operation }
  if (forwardable && specialPaths(mount.backend).forwardPerformanceSecondary(pathBelow(mount, request.path))) {
    return forward(asked, access.token)
  }
  try {
    return await mount.backend.handle(backendRequest(request, mount, access, access.operation))
  } catch (error) {
    if (forwardable && isReadOnly(error)) return forward(asked, access.token)
    throw error
  }
}
