import { StorageError } from '@lockstep/storage'

/** The `StorageError` for anything that went wrong between here and the server. Never repeats values. */
export function postgresError(error: unknown): StorageError {
  if (error instanceof StorageError) return error
  const { code, message } = error as { code?: unknown; message?: unknown }
  const sqlState = typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined
  // 25P02: a statement in a transaction that already failed; here only a conflict leaves one open.
  if (sqlState === '40001' || sqlState === '40P01' || sqlState === '25P02') {
    return new StorageError('STORAGE_CONFLICT', 'another commit changed what the transaction read', { cause: error })
  }
  if (sqlState === 'XX001' || sqlState === 'XX002') {
    return new StorageError('STORAGE_CORRUPT', `PostgreSQL found damaged data (${sqlState})`, { cause: error })
  }
  // Messages of the server may quote rows; those of the connection do not.
  const reason = sqlState === undefined ? String(code ?? message ?? 'unknown error') : `SQLSTATE ${sqlState}`
  return new StorageError('STORAGE_UNAVAILABLE', `PostgreSQL is not available: ${reason}`, { cause: error })
}

export function isConflict(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'STORAGE_CONFLICT'
}
