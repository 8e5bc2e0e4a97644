/**
 * A request on its way from a performance secondary to the primary, and the backend's answer on its way back. Tokens stay
 * behind: the primary gets who the caller is and which policies it has, and checks those again.
 */
import { type BackendResponse, decodeExactJson, encodeExactJson } from '@lockstep/backend'
import type { Plain } from '@lockstep/replication'
import { CoreError, type CoreRequest, type LogPlace, type TokenEntry } from '../../contracts.ts'

export const FORWARD = 'forward'

/** What the primary may know of the caller. */
export type ForwardedCaller = Pick<
  TokenEntry,
  'accessor' | 'displayName' | 'policies' | 'type' | 'entityId' | 'meta' | 'cubbyholeId'
>

export interface ForwardedRequest {
  id: string
  operation: CoreRequest['operation']
  path: string
  data: Record<string, unknown>
  headers: Readonly<Record<string, string>>
  remoteAddress: string
  remotePort: number
  wrapTtl: number
  caller: ForwardedCaller | undefined
}

export interface ForwardedAnswer {
  response: BackendResponse | undefined
  /** The primary's log once the request was done: what the secondary must have applied to see its effects. */
  place: LogPlace
}

const OPERATIONS: readonly string[] = ['create', 'read', 'update', 'patch', 'delete', 'list']
/** Headers that carry credentials never leave the cluster. */
const PRIVATE_HEADERS = new Set(['x-vault-token', 'authorization', 'cookie', 'proxy-authorization'])

export function encodeForwardedRequest(request: CoreRequest, caller: TokenEntry | undefined): Plain {
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !PRIVATE_HEADERS.has(name)))
  const { id, operation, path, remoteAddress, remotePort, wrapTtl } = request
  return {
    head: encodeExactJson({
      ...{ id, operation, path, headers, remoteAddress, remotePort, wrapTtl },
      caller: caller && {
        accessor: caller.accessor,
        displayName: caller.displayName,
        policies: caller.policies,
        type: caller.type,
        entityId: caller.entityId,
        meta: caller.meta,
        cubbyholeId: caller.cubbyholeId,
      },
    }),
    data: encodeExactJson(request.data),
  }
}

/** Rejects with CORE_INVALID_REQUEST naming the field that is not as it must be. */
export function decodeForwardedRequest(body: Plain): ForwardedRequest {
  const head = part(body, 'head')
  const bad = (field: string): CoreError =>
    new CoreError('CORE_INVALID_REQUEST', `forwarded request: ${field} is malformed`)
  for (const field of ['id', 'operation', 'path', 'remoteAddress'])
    if (typeof head[field] !== 'string') throw bad(field)
  for (const field of ['remotePort', 'wrapTtl']) if (!Number.isSafeInteger(head[field])) throw bad(field)
  if (!OPERATIONS.includes(head.operation as string)) throw bad('operation')
  if (!isTextMap(head.headers)) throw bad('headers')
  const caller = head.caller as ForwardedCaller | undefined
  if (caller !== undefined) {
    if (!isRecord(caller)) throw bad('caller')
    for (const field of ['accessor', 'displayName', 'type', 'entityId', 'cubbyholeId'] as const) {
      if (typeof caller[field] !== 'string') throw bad(`caller.${field}`)
    }
    if (!Array.isArray(caller.policies) || caller.policies.some((name) => typeof name !== 'string'))
      throw bad('caller.policies')
    if (caller.meta !== null && !isTextMap(caller.meta)) throw bad('caller.meta')
  }
  return { ...(head as unknown as ForwardedRequest), caller, data: part(body, 'data') }
}

export function encodeForwardedAnswer({ response, place: { epoch, index } }: ForwardedAnswer): Plain {
  if (response === undefined) return { epoch, index, response: null, raw: null }
  const { raw, ...rest } = response
  return {
    epoch,
    index,
    response: encodeExactJson(rest as Record<string, unknown>),
    raw: raw ? { contentType: raw.contentType, body: raw.body } : null,
  }
}

export function decodeForwardedAnswer(body: Plain): ForwardedAnswer {
  const answer = body as
    | { epoch?: unknown; index?: unknown; response?: unknown; raw?: BackendResponse['raw'] | null }
    | null
    | undefined
  const { epoch, index } = answer ?? {}
  if (!isCount(epoch) || !isCount(index)) throw malformedAnswer()
  const place: LogPlace = { epoch, index }
  if (!(answer?.response instanceof Uint8Array)) return { place, response: undefined }
  const response = responseOf(answer.response)
  if (isRecord(answer.raw)) {
    const { contentType, body: content } = answer.raw
    if (typeof contentType !== 'string') throw malformedAnswer()
    if (typeof content !== 'string' && !((content as unknown) instanceof Uint8Array)) throw malformedAnswer()
    response.raw = { ...answer.raw, contentType, body: content }
  }
  return { place, response }
}

function responseOf(bytes: Uint8Array): BackendResponse {
  try {
    const response = decodeExactJson(bytes)
    if (isRecord(response)) return response
  } catch {
    // Falls through to the same error.
  }
  throw malformedAnswer()
}

function malformedAnswer(): CoreError {
  return new CoreError('CORE_UNAVAILABLE', 'the primary gave a malformed answer')
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function part(body: Plain, name: string): Record<string, unknown> {
  const bytes = (body as Record<string, unknown> | null)?.[name]
  if (bytes instanceof Uint8Array) {
    try {
      const decoded = decodeExactJson(bytes)
      if (isRecord(decoded)) return decoded
    } catch {
      // Falls through to the error that names the part.
    }
  }
  throw new CoreError('CORE_INVALID_REQUEST', `forwarded request: ${name} is malformed`)
}

function isTextMap(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every((text) => typeof text === 'string')
}
