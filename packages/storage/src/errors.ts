export type StorageErrorCode =
  | 'STORAGE_CONFLICT'
  | 'STORAGE_CLOSED'
  | 'STORAGE_CLOSED_TRANSACTION'
  | 'STORAGE_INVALID_KEY'
  | 'STORAGE_LOCKED'
  | 'STORAGE_NEWER_FORMAT'
  | 'STORAGE_NOT_LEADER'
  | 'STORAGE_UNAVAILABLE'
  | 'STORAGE_CORRUPT'
  | 'STORAGE_TOO_LARGE'

/** Every error a `Store` rejects with. Messages name keys at most, never values. */
export class StorageError extends Error {
  override readonly name = 'StorageError'
  readonly code: StorageErrorCode
  constructor(code: StorageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
