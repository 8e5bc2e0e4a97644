import type { BackendResponse, Operation } from '@lockstep/backend'
import { type AuthBlock, type CoreBackendResponse, CoreError, type CoreResponse } from '../contracts.ts'
import { injectsData } from './top-injection.ts'

export interface LeaseFacts {
  id: string
  renewable: boolean
  /** Seconds. */
  duration: number
}

/** What core made of a backend's response before it is shown. */
export interface Made {
  auth: AuthBlock | null
  lease: LeaseFacts | undefined
  warnings: readonly string[]
}

const nothingMade: Made = { auth: null, lease: undefined, warnings: [] }

/**
 * The client's answer. @throws CoreError CORE_NOT_FOUND with an empty message where nothing is there.
 */
export function shaped(
  request: { id: string; path: string },
  operation: Operation,
  response: CoreBackendResponse | undefined,
  made: Made = nothingMade,
): CoreResponse {
  if (response?.conclusion !== undefined) return { status: 204, conclusion: response.conclusion }
  if (response?.stream !== undefined) return { status: 200, stream: response.stream }
  if (response === undefined) {
    if (operation === 'read' || operation === 'list' || operation === 'help') throw nothing()
    return { status: 204 }
  }
  const { headers, raw } = response
  if (raw !== undefined) return withHeaders({ status: response.status ?? 200, raw }, headers)
  if (response.bare !== undefined) return withHeaders({ status: response.status ?? 200, bare: response.bare }, headers)

  const warnings = joined(response.warnings, made.warnings)
  if (operation === 'list' && isEmptyList(response) && warnings === null) throw nothing()
  if (isEmpty(response, made) && warnings === null) {
    if (operation === 'read') throw nothing()
    if (response.status === undefined || response.status === 204) return withHeaders({ status: 204 }, headers)
  }
  const wrapInfo = response.wrapInfo ?? null
  return withHeaders(
    {
      status: response.status ?? 200,
      envelope: {
        request_id: wrapInfo === null ? request.id : '',
        lease_id: made.lease?.id ?? '',
        renewable: made.lease?.renewable ?? false,
        lease_duration: made.lease?.duration ?? response.leaseDuration ?? 0,
        data: wrapInfo === null ? (response.data ?? null) : null,
        wrap_info: wrapInfo,
        warnings,
        auth: made.auth,
      },
      ...(injectsData(request.path) ? { injectData: true } : undefined),
    },
    headers,
  )
}

function withHeaders(response: CoreResponse, headers: BackendResponse['headers']): CoreResponse {
  return headers === undefined ? response : { ...response, headers }
}

function isEmpty(response: CoreBackendResponse, made: Made): boolean {
  return (
    response.data === undefined && made.auth === null && made.lease === undefined && response.wrapInfo === undefined
  )
}

/** `keys` empty, or no data at all; other data beside absent keys counts as an answer. */
function isEmptyList(response: CoreBackendResponse): boolean {
  const { data } = response
  if (data === undefined) return response.wrapInfo === undefined
  const keys = data.keys
  if (Array.isArray(keys)) return keys.length === 0
  for (const name in data) if (name !== 'keys') return false
  return true
}

function joined(first: readonly string[] | undefined, second: readonly string[]): string[] | null {
  const all = first === undefined ? [...second] : [...first, ...second]
  return all.length === 0 ? null : all
}

function nothing(): CoreError {
  return new CoreError('CORE_NOT_FOUND', '')
}
