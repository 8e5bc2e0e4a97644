import type { CoreRequest, LogPlace, RoutedMount, TokenEntry } from '../contracts.ts'
import { type Access, aclOf, authorize, existenceCheck } from './authorization.ts'
import { backendRequest, pathBelow } from './backend-request.ts'
import { withinBoundCidrs } from './bound-cidrs.ts'
import type { RequestComponents } from './components.ts'
import { policyDenial, unauthenticatedDenial } from './request-error.ts'
import { specialPaths } from './special-paths.ts'

export interface Admission extends Access {
  /** The path needs no token. */
  open: boolean
  /** The token has spent its last use: it is revoked once the request is done. */
  lastUse: boolean
  /** The state that the request asks for is not here: only the primary may answer. */
  behind: boolean
  /** Where the primary was when it answered. */
  reached: LogPlace | undefined
}

/** Where a wrapping token alone, in the token header, is all a client needs. */
const byWrappingToken = new Set(['sys/wrapping/unwrap', 'sys/wrapping/rewrap', 'sys/wrapping/lookup'])

export function newAdmission(request: CoreRequest, mount: RoutedMount | undefined, behind = false): Admission {
  return {
    open: mount !== undefined && isOpen(request, mount),
    ...{ token: undefined, acl: undefined, decision: undefined, operation: request.operation },
    ...{ lastUse: false, behind, reached: undefined },
  }
}

function isOpen(request: CoreRequest, mount: RoutedMount): boolean {
  if (specialPaths(mount.backend).unauthenticated(pathBelow(mount, request.path))) return true
  return mount.builtin && byWrappingToken.has(request.path) && !request.data.token
}

/**
 * Finds the caller and asks its policies, filling `admission` as far as it gets. Rejects with CORE_PERMISSION_DENIED.
 */
export async function admit(
  components: Pick<RequestComponents, 'tokens' | 'policies' | 'wrapping'>,
  request: CoreRequest,
  mount: RoutedMount | undefined,
  admission: Admission,
): Promise<void> {
  if (request.clientToken !== '' && !(admission.open && byWrappingToken.has(request.path))) {
    const found = components.tokens.lookup(request.clientToken)
    const token = found instanceof Promise ? await found : found
    if (token !== undefined && token.numUses >= 0 && withinBoundCidrs(token, request.remoteAddress)) {
      admission.token = token
      const acl = aclOf(components.policies, token)
      admission.acl = acl instanceof Promise ? await acl : acl
    }
  }
  if (admission.open) return
  const { token, acl } = admission
  if (token === undefined || acl === undefined) {
    const wrapped = byWrappingToken.has(request.path) ? request.data.token : undefined
    // A bad wrapping token is named as such even to nobody.
    if (typeof wrapped === 'string') await components.wrapping.lookup(wrapped)
    throw unauthenticatedDenial()
  }
  if (token.numUses > 0) await consumeUse(components, token, admission)

  const needsSudo = mount !== undefined && specialPaths(mount.backend).sudo(pathBelow(mount, request.path))
  const exists =
    mount === undefined || mount.entry.tainted
      ? undefined
      : existenceCheck(mount, () => backendRequest(request, mount, admission, request.operation))
  const answer = authorize(acl, request, needsSudo, exists)
  const { decision, operation } = answer instanceof Promise ? await answer : answer
  admission.decision = decision
  admission.operation = operation
  if (!decision.allowed) throw policyDenial()
}

// A use counts even when the policies then refuse the request.
async function consumeUse(
  components: Pick<RequestComponents, 'tokens'>,
  token: TokenEntry,
  admission: Admission,
): Promise<void> {
  admission.lastUse = (await components.tokens.consumeUse(token)).last
}
