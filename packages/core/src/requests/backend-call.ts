import { notPresent } from '../consistency/consistency.ts'
import {
  type CoreBackendResponse,
  CoreError,
  type CoreRequest,
  type ForwardToPrimary,
  type RoutedMount,
} from '../contracts.ts'
import { isReadOnly } from '../mounts/read-only.ts'
import type { Admission } from './admission.ts'
import { backendRequest, pathBelow } from './backend-request.ts'
import type { RequestComponents } from './components.ts'
import { answerableByPrimary, type VisibilityComponents } from './forwarded-visibility.ts'
import { specialPaths } from './special-paths.ts'

/** A link that is as good as dead must not hold up a read that may be tried elsewhere. */
const READ_TIMEOUT_MS = 5_000

type CallComponents = Pick<RequestComponents, 'forward' | 'isPerformanceSecondary' | 'consistency'>

/**
 * Runs the request in its backend. On a performance secondary the whole request runs on the primary instead when the backend declares
 * so, or when it turns out to need a write of shared data. Local mounts never go to the primary.
 */
export async function backendCall(
  components: CallComponents,
  request: CoreRequest,
  mount: RoutedMount,
  admission: Admission,
): Promise<CoreBackendResponse | undefined> {
  const { forward } = components
  const forwardable = forward !== undefined && !mount.entry.local && (components.isPerformanceSecondary?.() ?? false)
  if (forwardable && specialPaths(mount.backend).forwardPerformanceSecondary(pathBelow(mount, request.path))) {
    return primaryCall(components, request, admission)
  }
  try {
    return await mount.backend.handle(backendRequest(request, mount, admission, admission.operation))
  } catch (error) {
    if (forwardable && isReadOnly(error)) return primaryCall(components, request, admission)
    throw error
  }
}

/** In place of an answer from a state older than the client has seen. Rejects with CORE_INDEX_NOT_PRESENT where the primary cannot help. */
export async function callBehind(
  components: CallComponents & VisibilityComponents,
  request: CoreRequest,
  admission: Admission,
): Promise<CoreBackendResponse | undefined> {
  if (components.forward === undefined || !answerableByPrimary(components, request)) throw notPresent()
  const reads = request.operation === 'read' || request.operation === 'list' || request.operation === 'help'
  try {
    return await primaryCall(
      components,
      request,
      admission,
      reads ? { untilApplied: false, timeoutMs: READ_TIMEOUT_MS } : undefined,
    )
  } catch (error) {
    // A write that got no answer may have happened: the client must not take it for one that has not.
    if (reads && error instanceof CoreError && error.code === 'CORE_UNAVAILABLE') throw notPresent(error)
    throw error
  }
}

async function primaryCall(
  { forward, consistency }: CallComponents,
  request: CoreRequest,
  admission: Admission,
  options?: Parameters<ForwardToPrimary>[2],
): Promise<CoreBackendResponse | undefined> {
  // The client's operation: whether an update is a creation is for the primary to see.
  const { response, place } = await forward!(request, admission.token, options)
  admission.reached = place
  await consistency?.settled()
  return response
}
