/** What a client of a performance secondary is told when its forwarded request fails. */
import { LinkError } from '@lockstep/replication-driver'
import { CoreError, type CoreErrorCode } from '../../contracts.ts'

/** The primary's answers to the client, as against its troubles with itself. */
const passedOn: ReadonlySet<string> = new Set<CoreErrorCode>([
  'CORE_INVALID_REQUEST',
  'CORE_PERMISSION_DENIED',
  'CORE_NOT_FOUND',
  'CORE_UNSUPPORTED_OPERATION',
  'CORE_INDEX_NOT_PRESENT',
  'CORE_INTERNAL',
])

export function forwardError(error: unknown): CoreError {
  if (error instanceof CoreError) return error
  const { message } = error as Error
  if (error instanceof LinkError && passedOn.has(error.remoteCode)) {
    return new CoreError(error.remoteCode as CoreErrorCode, message, { cause: error })
  }
  return new CoreError(
    'CORE_UNAVAILABLE',
    `errors from both primary and secondary; primary error was ${message}; secondary errors follow: cannot write to readonly storage`,
    { cause: error },
  )
}
