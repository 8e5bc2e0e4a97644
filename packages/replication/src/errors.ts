export type ReplicationErrorCode =
  /** Bytes that are not a WAL record, or a record that breaks the limits. */
  | 'REPLICATION_INVALID_RECORD'
  /** A message that does not have the shape its `type` promises, or is too large. */
  | 'REPLICATION_INVALID_MESSAGE'
  /** A programming error of the caller: a key id of the wrong length, a path that is not hexadecimal. */
  | 'REPLICATION_INVALID_ARGUMENT'

/** Everything this package throws. Messages never hold keys' values or whole keys. */
export class ReplicationError extends Error {
  override readonly name = 'ReplicationError'
  readonly code: ReplicationErrorCode
  constructor(code: ReplicationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
