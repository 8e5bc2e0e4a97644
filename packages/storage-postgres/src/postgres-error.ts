import { StorageError } from '@lockstep/storage'

/** What an operator should know of the states a server gets into. */
const REASONS: Record<string, string> = {
  '25006': 'it takes no writes (a standby, or set to read-only)',
  '28000': 'it refuses the user',
  '28P01': 'it refuses the password',
  '3D000': 'there is no such database',
  '42501': 'the role lacks a right it needs',
  '53100': 'its disk is full',
  '53200': 'it is out of memory',
  '53300': 'it has too many connections',
  '55P03': 'a lock was not to be had in time',
  '57014': 'it cancelled the statement (a timeout, or an administrator)',
  '57P01': 'an administrator ended the connection',
  '57P02': 'it crashed',
  '57P03': 'it is starting up or shutting down',
  '57P05': 'it ended an idle connection',
  '58030': 'it cannot read or write its files',
  XX000: 'it reports an internal error',
}

/** The `StorageError` for anything that went wrong between here and the server. Never repeats values. */
export function postgresError(error: unknown): StorageError {
  if (error instanceof StorageError) return error
  const { code, message } = error as { code?: unknown; message?: unknown }
  const sqlState = sqlStateOf(error)
  // 25P02: a statement in a transaction that already failed; here only a conflict leaves one open.
  if (sqlState === '40001' || sqlState === '40P01' || sqlState === '25P02') {
    return new StorageError('STORAGE_CONFLICT', 'another commit changed what the transaction read', { cause: error })
  }
  if (sqlState === 'XX001' || sqlState === 'XX002') {
    return new StorageError('STORAGE_CORRUPT', `PostgreSQL found damaged data (${sqlState})`, { cause: error })
  }
  // Messages of the server may quote rows; those of the connection do not.
  const reason = sqlState === undefined ? String(code ?? message ?? 'unknown error') : described(sqlState)
  return new StorageError('STORAGE_UNAVAILABLE', `PostgreSQL is not available: ${reason}`, { cause: error })
}

function described(sqlState: string): string {
  const reason = REASONS[sqlState]
  return reason === undefined ? `SQLSTATE ${sqlState}` : `${reason}, SQLSTATE ${sqlState}`
}

export function isConflict(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'STORAGE_CONFLICT'
}

/** Whether the server may have carried out, or may still carry out, a statement that was sent and failed so. */
export function isInDoubt(error: unknown): boolean {
  if (error instanceof StorageError) return error.code === 'STORAGE_UNAVAILABLE'
  const sqlState = sqlStateOf(error)
  if (sqlState === undefined || sqlState === '40003' || sqlState.startsWith('08')) return true
  // The end of a session may meet a commit that is over already.
  const { severity } = error as { severity?: unknown }
  return severity === 'FATAL' || severity === 'PANIC' || sqlState.startsWith('57P')
}

/** Whether another connection could do better: this one is broken, or leads to a server that will not write. */
export function spoilsConnection(error: unknown): boolean {
  return isInDoubt(error) || sqlStateOf(error) === '25006'
}

function sqlStateOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  // Node's own codes, like EPIPE, can have five letters as well; the server's errors have a severity.
  const { severity } = (error ?? {}) as { severity?: unknown }
  return typeof code === 'string' && typeof severity === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined
}
