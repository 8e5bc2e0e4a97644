import type { BackendResponse } from '@lockstep/backend'
import { notPresent } from '../consistency/consistency.ts'
import {
  type CoreBackendResponse,
  CoreError,
  type CoreRequest,
  type CoreResponse,
  type RoutedMount,
} from '../contracts.ts'
import type { ForwardedRequest } from '../replication/forwarding/forwarded-request.ts'
import { type Admission, admit, newAdmission } from './admission.ts'
import { backendCall, callBehind } from './backend-call.ts'
import type { RequestComponents } from './components.ts'
import { type Made, shaped } from './envelope.ts'
import { forwardedHandler } from './forwarded-handler.ts'
import { leasedSecret } from './leased-secret.ts'
import { loginToken } from './login.ts'
import { requestAudit } from './request-audit.ts'
import { clientError, isDenial, noHandler } from './request-error.ts'
import { wantsWrapping, wrappedResponse } from './wrapped-response.ts'

export interface RequestHandler {
  /** Resolves with what the client gets; rejects with `CoreError` only. */
  handle(request: CoreRequest): Promise<CoreResponse>
  /**
   * The primary's side of forwarding: runs a performance secondary's request in its backend after checking the caller's policies here.
   * `allowed` tells which mount points that secondary may hold; others, and local mounts, are as good as absent. No token, lease or
   * wrapping is made: that is the secondary's. Rejects with `CoreError` only.
   */
  handleForwarded(
    request: ForwardedRequest,
    allowed: (mountPoint: string) => boolean,
  ): Promise<BackendResponse | undefined>
}

/** Token, policy, audit, routing, lease, wrapping, audit: the way of every request. */
export function requestHandler(components: RequestComponents): RequestHandler {
  const { mounts, tokens, log, consistency } = components
  const audit = requestAudit(components.audit, components.clock, log)

  async function answer(
    request: CoreRequest,
    mount: RoutedMount | undefined,
    admission: Admission,
  ): Promise<CoreResponse> {
    if (admission.behind) {
      const backendResponse = await callBehind(components, request, admission)
      return answerOf(request, mount ?? mounts.route(request.path), admission, backendResponse)
    }
    if (mount === undefined) throw noHandler(request.path)
    if (mount.entry.tainted) throw noHandler(request.path, 'route entry is tainted')
    return answerOf(request, mount, admission, await backendCall(components, request, mount, admission))
  }

  async function answerOf(
    request: CoreRequest,
    mount: RoutedMount | undefined,
    admission: Admission,
    backendResponse: CoreBackendResponse | undefined,
  ): Promise<CoreResponse> {
    let made: Made | undefined
    if (!isPlain(backendResponse)) {
      // No token or lease without the mount it belongs to, which has yet to arrive.
      if (mount === undefined) throw notPresent()
      made = await make(request, mount, admission, backendResponse)
    }
    const response = allowedHeaders(shaped(request, admission.operation, backendResponse, made), mount)
    return wantsWrapping(request, response) ? wrappedResponse(components, request, response) : response
  }

  /** The token or the lease that the backend's response calls for. */
  async function make(
    request: CoreRequest,
    mount: RoutedMount,
    admission: Admission,
    response: CoreBackendResponse,
  ): Promise<Made> {
    const made: Made = { auth: response.authBlock ?? null, lease: response.lease, warnings: [] }
    if (response.auth !== undefined && response.authBlock === undefined) {
      const { auth, warnings } = await loginToken(components, request, mount, response.auth)
      return { ...made, auth, warnings }
    }
    const { secret } = response
    if (secret === undefined || response.lease !== undefined) return made
    const { lease, warnings } = await leasedSecret(components, request, mount, admission, { ...response, secret })
    return { ...made, lease, warnings }
  }

  async function handle(request: CoreRequest): Promise<CoreResponse> {
    if (isWrite(request) && request.path.endsWith('/')) {
      throw new CoreError('CORE_INVALID_REQUEST', "cannot write to a path ending in '/'")
    }
    const gated = consistency !== undefined && !isAboutThisNode(request.path)
    const before = gated ? consistency.head() : undefined
    const here = gated ? consistency.present(request.headers) : true
    const behind = here !== true && !(await here)
    const mount = mounts.route(request.path)
    const admission = newAdmission(request, mount, behind)
    /** For who wrote or names states. Of an older state than the client has seen there is nothing to tell. */
    const index = (): string | undefined => {
      const { reached } = admission
      if (before === undefined || (behind && reached === undefined)) return undefined
      const asked = reached !== undefined || request.headers['x-vault-index'] !== undefined
      return asked || consistency!.head().index !== before.index ? consistency!.index(reached) : undefined
    }
    try {
      const response = await audited(request, mount, admission)
      const state = index()
      if (state !== undefined) response.index = state
      return response
    } catch (error) {
      if (error instanceof CoreError) error.index = index()
      throw error
    } finally {
      if (admission.lastUse && admission.token !== undefined) {
        await tokens.revoke(admission.token.id).catch((error) => {
          log.error('a used up token was not revoked', { accessor: admission.token?.accessor, error: String(error) })
        })
      }
    }
  }

  async function audited(
    request: CoreRequest,
    mount: RoutedMount | undefined,
    admission: Admission,
  ): Promise<CoreResponse> {
    let response: CoreResponse
    try {
      try {
        await admit(components, request, mount, admission)
      } catch (error) {
        // What is refused here by an older state may be allowed by the one asked for.
        const refused = clientError(
          admission.behind && isDenial(error) ? notPresent(error) : error,
          true,
          log,
          request.id,
        )
        await audit.request(request, mount, admission, refused.message)
        throw refused
      }
      const begun = audit.request(request, mount, admission)
      if (begun !== undefined) await begun
      response = await answer(request, mount, admission)
    } catch (error) {
      const refused = clientError(error, !admission.open, log, request.id)
      await audit.response(request, mount, admission, refused.message === '' ? {} : { error: refused.message })
      throw refused
    }
    const ended = audit.response(request, mount, admission, { response })
    if (ended !== undefined) await ended.catch((error: unknown) => giveUp(response, error))
    return response
  }

  return { handle, handleForwarded: forwardedHandler(components, audit) }
}

/** What operators look at and act by when a secondary lags must not wait for it. */
function isAboutThisNode(path: string): boolean {
  return path.startsWith('sys/replication/') || path === 'sys/seal' || path === 'sys/step-down'
}

function isPlain(response: CoreBackendResponse | undefined): response is undefined {
  return (
    response === undefined ||
    (response.auth === undefined &&
      response.secret === undefined &&
      response.authBlock === undefined &&
      response.lease === undefined)
  )
}

function isWrite(request: CoreRequest): boolean {
  return request.operation === 'update' || request.operation === 'create' || request.operation === 'patch'
}

/** The client does not get the response: nobody else will read or conclude it. */
async function giveUp(response: CoreResponse, error: unknown): Promise<never> {
  response.stream?.body.destroy()
  await response.conclusion?.discard()
  throw error
}

/** A plug-in's response headers reach the client only where the mount allows them. */
function allowedHeaders(response: CoreResponse, mount: RoutedMount | undefined): CoreResponse {
  if (response.headers === undefined || mount?.builtin) return response
  const allowed = new Set((mount?.entry.config.allowed_response_headers ?? []).map((name) => name.toLowerCase()))
  const headers = Object.fromEntries(
    Object.entries(response.headers).filter(([name]) => allowed.has(name.toLowerCase())),
  )
  return { ...response, headers }
}
