import type { BackendRequest, Operation } from '@lockstep/backend'
import type { Acl, AclDecision, CoreRequest, PolicyStore, RoutedMount, TokenEntry } from '../contracts.ts'
import { isReadOnly } from '../mounts/read-only.ts'

/** An unlimited, live token and what its policies say; undefined parts on unauthenticated paths. */
export interface Access {
  token: TokenEntry | undefined
  acl: Acl | undefined
  decision: AclDecision | undefined
  /** `create` where the client's `update` makes something new. */
  operation: Operation
}

export function aclOf(policies: PolicyStore, token: Pick<TokenEntry, 'policies'>): Promise<Acl> | Acl {
  return policies.acl(token.policies)
}

/**
 * Decides a request. A POST is `create` or `update` depending on whether the object exists; the backend is asked only when the policies
 * answer the two differently, so `operation` may stay `update` for something new that the caller may both create and update.
 */
export function authorize(
  acl: Acl,
  request: CoreRequest,
  needsSudo: boolean,
  exists: (() => Promise<boolean | undefined>) | undefined,
): { decision: AclDecision; operation: Operation } | Promise<{ decision: AclDecision; operation: Operation }> {
  const decide = (operation: Operation) =>
    acl.authorize({ operation, path: request.path, data: request.data, wrapTtl: request.wrapTtl, needsSudo })
  const decision = decide(request.operation)
  if (request.operation !== 'update' || decision.root || exists === undefined) {
    return { decision, operation: request.operation }
  }
  const creation = decide('create')
  if (creation.allowed === decision.allowed) return { decision, operation: 'update' }
  return exists().then((found) =>
    found === false ? { decision: creation, operation: 'create' as const } : { decision, operation: 'update' as const },
  )
}

/** Asks the backend whether the addressed object exists; a backend that does not know the path has nothing there to create. */
export function existenceCheck(
  mount: RoutedMount,
  toBackend: () => BackendRequest,
): (() => Promise<boolean | undefined>) | undefined {
  const { backend } = mount
  if (backend.exists === undefined) return undefined
  return async () => {
    try {
      return await backend.exists!(toBackend())
    } catch (error) {
      if (isReadOnly(error) || (error as { code?: unknown }).code === 'BACKEND_UNSUPPORTED_PATH') return undefined
      throw error
    }
  }
}
