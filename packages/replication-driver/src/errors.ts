export type LoggedStoreErrorCode =
  | 'REPLICATION_READ_ONLY'
  | 'REPLICATION_LOG_TRIMMED'
  | 'REPLICATION_CORRUPT'
  | 'REPLICATION_NEWER_FORMAT'
  | 'REPLICATION_FENCED'
  | 'REPLICATION_TOO_LARGE'
  | 'REPLICATION_INVALID'

/** What a `LoggedStore` rejects with beyond the `StorageError`s of the store below it. Messages never hold values. */
export class LoggedStoreError extends Error {
  override readonly name = 'LoggedStoreError'
  readonly code: LoggedStoreErrorCode
  constructor(code: LoggedStoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
