import { StorageError } from '@lockstep/storage'

/** The `StorageError` for an error of LevelDB; other errors pass unchanged. */
export function levelError(error: unknown, path: string): unknown {
  const codes = codesOf(error)
  if (codes.includes('LEVEL_LOCKED')) {
    return new StorageError('STORAGE_LOCKED', `data directory ${path} is in use by another process`, { cause: error })
  }
  if (codes.includes('LEVEL_CORRUPTION')) {
    return new StorageError('STORAGE_CORRUPT', `data directory ${path} is damaged: ${messageOf(error)}`, {
      cause: error,
    })
  }
  if (codes.includes('LEVEL_IO_ERROR') || codes.includes('LEVEL_INVALID_ARGUMENT')) {
    return new StorageError('STORAGE_UNAVAILABLE', `data directory ${path} failed: ${messageOf(error)}`, {
      cause: error,
    })
  }
  if (codes.some((code) => code === 'LEVEL_DATABASE_NOT_OPEN' || code === 'LEVEL_ITERATOR_NOT_OPEN')) {
    return new StorageError('STORAGE_CLOSED', 'the store is closed', { cause: error })
  }
  return error
}

/** The codes of the error and its causes: a failed open hides the reason in a cause. */
function codesOf(error: unknown): string[] {
  const codes: string[] = []
  for (let at = error; at instanceof Error; at = at.cause) codes.push(String((at as { code?: unknown }).code))
  return codes
}

function messageOf(error: unknown): string {
  let message = ''
  for (let at = error; at instanceof Error; at = at.cause) message = at.message
  return message
}
