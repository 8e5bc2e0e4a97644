import { BackendError, type BackendErrorCode } from '@lockstep/backend'
import { CoreError, type CoreErrorCode, type Log } from '../contracts.ts'
import { isReadOnly } from '../mounts/read-only.ts'

/** Go's multierror text, which clients see for errors that come from behind authentication. */
export function multierror(text: string): string {
  return `1 error occurred:\n\t* ${text}\n\n`
}

const backendCodes: Record<BackendErrorCode, CoreErrorCode> = {
  BACKEND_INVALID_REQUEST: 'CORE_INVALID_REQUEST',
  BACKEND_PERMISSION_DENIED: 'CORE_PERMISSION_DENIED',
  BACKEND_NOT_FOUND: 'CORE_NOT_FOUND',
  BACKEND_UNSUPPORTED_PATH: 'CORE_NOT_FOUND',
  BACKEND_UNSUPPORTED_OPERATION: 'CORE_UNSUPPORTED_OPERATION',
  BACKEND_READ_ONLY: 'CORE_UNAVAILABLE',
}

const unavailable = new Set(['STORAGE_CLOSED', 'STORAGE_NOT_LEADER', 'STORAGE_UNAVAILABLE', 'STORAGE_CONFLICT'])

/**
 * What the client is told of an error from a backend or from core itself. Unknown errors become `internal error`; their text goes to
 * the log only. `authenticated` selects the multierror form.
 */
export function clientError(error: unknown, authenticated: boolean, log: Log, requestId: string): CoreError {
  if (error instanceof CoreError) return error
  if (error instanceof BackendError) return fromBackend(error, authenticated)
  if (isReadOnly(error)) return refusal('CORE_UNAVAILABLE', 'cannot write to readonly storage', authenticated, error)
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined
  const text = error instanceof Error ? error.message : String(error)
  log.error('request failed', { request: requestId, code, error: text })
  if (unavailable.has(code as string))
    return refusal('CORE_UNAVAILABLE', 'storage is unavailable', authenticated, error)
  if (code === 'STORAGE_TOO_LARGE')
    return refusal('CORE_INVALID_REQUEST', 'the write is larger than the storage can hold', authenticated, error)
  return refusal('CORE_INTERNAL', 'internal error', authenticated, error)
}

function fromBackend(error: BackendError, authenticated: boolean): CoreError {
  const code = backendCodes[error.code]
  switch (error.code) {
    case 'BACKEND_INVALID_REQUEST':
      return new CoreError(code, error.message, { cause: error })
    case 'BACKEND_NOT_FOUND':
      return new CoreError(code, '', { cause: error })
    default:
      return refusal(code, error.message, authenticated, error)
  }
}

function refusal(code: CoreErrorCode, text: string, authenticated: boolean, cause: unknown): CoreError {
  return new CoreError(code, authenticated ? multierror(text) : text, { cause })
}

/** No token, unknown token, wrong network: told apart neither from each other nor from an unknown mount. */
export function unauthenticatedDenial(): CoreError {
  return new CoreError('CORE_PERMISSION_DENIED', 'permission denied')
}

/** The token is good but its policies do not allow this. */
export function policyDenial(): CoreError {
  return new CoreError('CORE_PERMISSION_DENIED', multierror('permission denied'))
}

export function isDenial(error: unknown): boolean {
  return error instanceof CoreError && error.code === 'CORE_PERMISSION_DENIED'
}

export function noHandler(path: string, reason = 'route entry not found'): CoreError {
  return new CoreError('CORE_NOT_FOUND', `no handler for route "${path}". ${reason}.`)
}
