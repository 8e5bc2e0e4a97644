/** The one line an operator reads when the server does not start. */
import { ConfigError } from './config/config-error.ts'

/** `subject` says what was being done, e.g. `storage "level"`. */
export class StartupError extends Error {
  override readonly name = 'StartupError'
}

const REASONS: Record<string, string> = {
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'no such address on this machine',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  ENOENT: 'no such file or directory',
  EISDIR: 'is a directory',
  ENOTDIR: 'a parent is not a directory',
  ENOSPC: 'no space left on the device',
  EROFS: 'read-only file system',
  STORAGE_LOCKED: 'the data directory is in use by another process',
  STORAGE_NEWER_FORMAT: 'the data was written by a newer version of this server',
  STORAGE_UNAVAILABLE: 'the storage cannot be reached',
  STORAGE_CORRUPT: 'the stored data is damaged',
}

/** A reason without stack: known codes in words, the house's other errors in their own. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  const code = (error as { code?: unknown }).code
  if (typeof code === 'string' && Object.hasOwn(REASONS, code)) {
    const detail = code.startsWith('STORAGE_') ? ` (${firstLine(error.message)})` : ''
    return `${REASONS[code]}${detail}`
  }
  // A package's own error may only say what failed; the system's below it says why.
  const cause = error instanceof StartupError ? undefined : (error.cause as { code?: unknown } | undefined)?.code
  if (typeof cause === 'string' && Object.hasOwn(REASONS, cause)) return REASONS[cause]!
  return firstLine(error.message) || error.name
}

export function startupError(subject: string, error: unknown): Error {
  if (error instanceof ConfigError || error instanceof StartupError) return error
  return new StartupError(`${subject}: ${reasonOf(error)}`, { cause: error })
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]!
}
