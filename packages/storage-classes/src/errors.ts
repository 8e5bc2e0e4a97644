export type StorageClassErrorCode =
  /** No rule and no registered mount covers the key, so it must not be written. */
  | 'STORAGE_CLASS_UNKNOWN_KEY'
  /** A key sent with a tag that cannot be right for it, or of a class the receiver must not hold. */
  | 'STORAGE_CLASS_TAG_REFUSED'
  | 'STORAGE_CLASS_INVALID_RULE'
  | 'STORAGE_CLASS_INVALID_MOUNT'

/** Every error of this package. Messages name storage keys at most. */
export class StorageClassError extends Error {
  override readonly name = 'StorageClassError'
  readonly code: StorageClassErrorCode
  constructor(code: StorageClassErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
