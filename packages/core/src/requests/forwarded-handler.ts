import type { BackendResponse } from '@lockstep/backend'
import { CoreError, type CoreRequest, type RoutedMount } from '../contracts.ts'
import type { ForwardedRequest } from '../replication/forwarding/forwarded-request.ts'
import { aclOf, authorize, existenceCheck } from './authorization.ts'
import { backendRequest, pathBelow } from './backend-request.ts'
import { callerOf } from './caller.ts'
import type { RequestComponents } from './components.ts'
import { shaped } from './envelope.ts'
import { visibleMount } from './forwarded-visibility.ts'
import type { RequestAudit } from './request-audit.ts'
import { clientError, noHandler, policyDenial, unauthenticatedDenial } from './request-error.ts'
import { specialPaths } from './special-paths.ts'

type HandleForwarded = (
  request: ForwardedRequest,
  allowed: (mountPoint: string) => boolean,
) => Promise<BackendResponse | undefined>

export function forwardedHandler(components: RequestComponents, audit: RequestAudit): HandleForwarded {
  const { policies, log, consistency } = components

  return async (forwarded, allowed) => {
    const { caller } = forwarded
    const request: CoreRequest = { ...forwarded, clientToken: '', wrapFormat: '' }
    const mount = visibleMount(components, forwarded, allowed)
    const open = mount !== undefined && specialPaths(mount.backend).unauthenticated(pathBelow(mount, request.path))
    const access: Parameters<RequestAudit['request']>[2] = { operation: request.operation }
    try {
      if (caller === undefined) {
        if (!open) throw unauthenticatedDenial()
      } else {
        const acl = await aclOf(policies, caller)
        access.acl = acl
        const needsSudo = mount !== undefined && specialPaths(mount.backend).sudo(pathBelow(mount, request.path))
        const exists = mount && existenceCheck(mount, () => toBackend(request, mount))
        if (!open) {
          const { decision, operation } = await authorize(acl, request, needsSudo, exists)
          Object.assign(access, { decision, operation })
          if (!decision.allowed) throw policyDenial()
        }
      }
      await audit.request(request, mount, access)
      consistency?.assertHere(request.headers)
      if (mount === undefined) throw noHandler(request.path)
      if (mount.builtin && request.data.local) {
        throw new CoreError('CORE_INVALID_REQUEST', 'what is local to one cluster cannot be made for another')
      }
      const response = await mount.backend.handle(toBackend(request, mount))
      await audit.response(request, mount, access, { response: auditable(request, response) })
      return response
    } catch (error) {
      const refused = clientError(error, !open, log, request.id)
      await audit.response(request, mount, access, refused.message === '' ? {} : { error: refused.message })
      throw refused
    }

    function toBackend(source: CoreRequest, target: RoutedMount): ReturnType<typeof backendRequest> {
      const operation = access.operation ?? source.operation
      const request = backendRequest(source, target, { token: undefined, acl: access.acl }, operation)
      return caller === undefined ? request : { ...request, caller: callerOf(caller) }
    }
  }
}

function auditable(request: CoreRequest, response: BackendResponse | undefined): ReturnType<typeof shaped> {
  const { auth: _grant, ...shown } = response ?? {}
  return shaped(request, 'update', response === undefined ? undefined : shown)
}
