import { CoreError } from '../contracts.ts'

export function invalidRequest(message: string, cause?: unknown): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message, { cause })
}
