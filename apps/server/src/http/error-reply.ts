/** The only place where an error becomes an HTTP status and Vault's `errors` array. */
import type { CoreErrorCode, Log } from '@lockstep/core'
import { HttpError } from './http-error.ts'

const STATUS: Record<CoreErrorCode, number> = {
  CORE_INVALID_REQUEST: 400,
  CORE_PERMISSION_DENIED: 403,
  CORE_NOT_FOUND: 404,
  CORE_UNSUPPORTED_OPERATION: 405,
  CORE_INDEX_NOT_PRESENT: 412,
  CORE_SEALED: 503,
  CORE_STANDBY: 503,
  CORE_UNAVAILABLE: 503,
  CORE_INTERNAL: 500,
}

/** Of a storage that is away for a while, met where no request handler stands between. */
const STORAGE_AWAY: readonly unknown[] = [
  'STORAGE_UNAVAILABLE',
  'STORAGE_NOT_LEADER',
  'STORAGE_CLOSED',
  'STORAGE_CONFLICT',
]

export interface ErrorReply {
  status: number
  text: string
  close: boolean
  /** X-Vault-Index. */
  index?: string
}

export function errorReply(error: unknown, log: Log): ErrorReply {
  if (error instanceof HttpError) return { status: error.status, text: errorsText(error.message), close: error.close }
  const code = errorCode(error)
  // By code, not class: core may be linked twice.
  if (code !== undefined && Object.hasOwn(STATUS, code)) {
    const { message, index } = error as Error & { index?: string }
    return { status: STATUS[code as CoreErrorCode], text: errorsText(message), close: false, index }
  }
  if (STORAGE_AWAY.includes(code)) {
    log.error('request failed: the storage is unavailable', { code, reason: (error as Error).message })
    return { status: 503, text: errorsText('storage is unavailable'), close: false }
  }
  log.error('request failed with an internal error', describe(error))
  return { status: 500, text: errorsText('internal error'), close: false }
}

export function errorsText(message: string): string {
  return message === '' ? '{"errors":[]}\n' : `{"errors":[${JSON.stringify(message)}]}\n`
}

export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined
  return typeof code === 'string' ? code : undefined
}

/**
 * What may be logged of an unforeseen error. Errors with a code are the house's or the system's, whose messages hold no
 * secrets; any other message may quote what was being processed (JSON.parse does), so only its name and frames are kept.
 */
function describe(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { error: typeof error }
  const code = errorCode(error)
  const frames = error.stack?.split('\n').filter((line) => /^\s+at /.test(line)) ?? []
  return {
    error: error.name,
    ...(code === undefined ? {} : { code, reason: error.message }),
    stack: frames.slice(0, 12).map((line) => line.trim()),
    ...(error.cause instanceof Error ? { cause: describe(error.cause) } : {}),
  }
}
