import { status as Status } from '@grpc/grpc-js'
import { StorageError } from '@lockstep/storage'
import { unavailable } from './connection.ts'
import { WireError } from './wire-reader.ts'

/** A call that failed. */
export class EtcdCallError extends Error {
  override readonly name = 'EtcdCallError'
  /** gRPC status. */
  readonly status: number
  /** Of etcd, or of the connection. Neither quotes keys or values. */
  readonly details: string
  constructor(status: number, details: string, options?: ErrorOptions) {
    super(`${details} (gRPC status ${status})`, options)
    this.status = status
    this.details = details
  }
}

/** etcd has answered, and its answer is no. Whatever else fails may be better the next time, or at another endpoint. */
const REFUSALS: ReadonlySet<number> = new Set([
  Status.INVALID_ARGUMENT,
  Status.NOT_FOUND,
  Status.ALREADY_EXISTS,
  Status.PERMISSION_DENIED,
  Status.RESOURCE_EXHAUSTED,
  Status.FAILED_PRECONDITION,
  Status.OUT_OF_RANGE,
  Status.UNIMPLEMENTED,
  Status.UNAUTHENTICATED,
])

export function isTransient({ status, details }: EtcdCallError): boolean {
  return !REFUSALS.has(status) || isTooBusy(status, details) || isHttp(status, details)
}

/** HTTP/2's ENHANCE_YOUR_CALM in the words of grpc-js: the connection ended so, and etcd may go on with the call. */
function isHttp(status: number, details: string): boolean {
  return status === Status.RESOURCE_EXHAUSTED && details.startsWith('Bandwidth exhausted')
}

function isTooBusy(status: number, details: string): boolean {
  return status === Status.RESOURCE_EXHAUSTED && details.includes('too many requests')
}

/** Nobody has carried it out, and nobody will. Of any other transient failure of a write this is not known. */
export function wasNotCarriedOut({ status, details }: EtcdCallError): boolean {
  if (status === Status.UNAVAILABLE) {
    return /^No connection established|^Name resolution failed|etcdserver: no leader/.test(details)
  }
  return isTooBusy(status, details)
}

export function isCompacted(error: unknown): boolean {
  return error instanceof EtcdCallError && error.status === Status.OUT_OF_RANGE && error.details.includes('compacted')
}

/** The answer is longer than this end takes. */
export function isTooLongAnswer(error: unknown): boolean {
  return (
    error instanceof EtcdCallError &&
    error.status === Status.RESOURCE_EXHAUSTED &&
    error.details.startsWith('Received message larger than max')
  )
}

export function isStaleToken({ status, details }: EtcdCallError): boolean {
  // The name is empty without a token: authentication has been switched on since none was given.
  return status === Status.UNAUTHENTICATED || /revision in header is old|user name is empty/.test(details)
}

/** The `StorageError` for anything that went wrong between here and etcd. */
export function etcdError(error: unknown): StorageError {
  if (error instanceof StorageError) return error
  if (error instanceof WireError) {
    return new StorageError('STORAGE_CORRUPT', `etcd's answer cannot be read: ${error.message}`, { cause: error })
  }
  if (!(error instanceof EtcdCallError)) {
    return unavailable(error instanceof Error ? error.message : 'unknown error', error)
  }
  const { details } = error
  if (/request is too large|too many operations|grpc: received message larger than max/.test(details)) {
    const limits = 'its --max-request-bytes or --max-txn-ops is less than what this store was told or the default is'
    return new StorageError('STORAGE_TOO_LARGE', `etcd refuses the commit (${details}): ${limits}`, { cause: error })
  }
  if (details.includes('database space exceeded')) {
    const remedy = 'compact and defragment it, or raise --quota-backend-bytes, then disarm the alarm'
    return unavailable(`its space quota is used up (NOSPACE alarm): ${remedy}`, error)
  }
  if (isCompacted(error)) return unavailable('the revision that was being read has been compacted; read again', error)
  return unavailable(details || `gRPC status ${error.status}`, error)
}
