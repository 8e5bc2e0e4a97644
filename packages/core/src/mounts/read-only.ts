import { BackendError } from '@lockstep/backend'

const readOnlyCodes = new Set(['REPLICATION_READ_ONLY', 'BACKEND_READ_ONLY'])

/** Whether a write failed, at any depth of the cause chain, because a performance secondary must not write shared data. */
export function isReadOnly(error: unknown): boolean {
  let current = error
  for (let depth = 0; depth < 16 && current instanceof Error; depth++) {
    if (readOnlyCodes.has((current as { code?: unknown }).code as string)) return true
    current = current.cause
  }
  return false
}

/** The error as a backend sees it: a read-only refusal becomes BACKEND_READ_ONLY, everything else stays. */
export function storageErrorForBackend(error: unknown): unknown {
  if (!isReadOnly(error) || error instanceof BackendError) return error
  return new BackendError('BACKEND_READ_ONLY', 'cannot write to readonly storage', { cause: error })
}
