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

export type LinkErrorCode =
  /** There is no link, or it closed before the answer came. */
  | 'REPLICATION_DISCONNECTED'
  | 'REPLICATION_TIMEOUT'
  /** Too many requests are under way on the link. */
  | 'REPLICATION_BUSY'
  /** The peer's application refused the request; `remoteCode` says how. */
  | 'REPLICATION_REMOTE'

/** What a request over a link rejects with. */
export class LinkError extends Error {
  override readonly name = 'LinkError'
  readonly code: LinkErrorCode
  /** The `code` of the error at the peer; "" for errors of the link itself. */
  readonly remoteCode: string
  constructor(code: LinkErrorCode, message: string, remoteCode = '') {
    super(message)
    this.code = code
    this.remoteCode = remoteCode
  }
}
