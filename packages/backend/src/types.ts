import type { Reader, Transaction } from '@lockstep/storage'

/** What a client asks of a path. POST and PUT arrive as `update`, or `create` when the existence check says absent. */
export type Operation = 'create' | 'read' | 'update' | 'patch' | 'delete' | 'list' | 'help' | 'renew' | 'revoke'

/** A mount's slice of the encrypted store. Writes of shared data on a performance secondary reject with `ReadOnlyError`. */
export interface BackendStorage extends Reader {
  put(key: string, value: Uint8Array): Promise<void>
  delete(key: string): Promise<void>
  /** Runs `body` in one serializable transaction, again on conflict; see `transact` of `@lockstep/storage`. */
  transaction<T>(body: (transaction: Transaction) => Promise<T>): Promise<T>
}

/** The caller, as a backend may see it: never the token itself. */
export interface Caller {
  accessor: string
  displayName: string
  policies: readonly string[]
  type: 'service' | 'batch'
  entityId: string
  meta: Readonly<Record<string, string>>
  /** Stable secret-free name of the token's own cubbyhole; "" for batch tokens. */
  cubbyholeId: string
}

export interface BackendRequest {
  id: string
  operation: Operation
  /** Relative to the mount, no leading slash. */
  path: string
  /** Parsed body and query parameters. Never retained or logged. */
  data: Record<string, unknown>
  /** `secret/` or `auth/userpass/`. */
  mountPoint: string
  mountAccessor: string
  /** Absent on unauthenticated paths. */
  caller?: Caller
  /** Lower-case names, only those the mount passes through. */
  headers: Readonly<Record<string, string>>
  remoteAddress: string
  /** Requested response wrapping, seconds; 0 = none. */
  wrapTtl: number
  storage: BackendStorage
  /** For renew and revoke: what the backend stored with the lease. */
  lease?: { id: string; internalData: Record<string, unknown>; issueTime: number; increment: number }
  /** For renew of a login: the grant as it was issued. */
  auth?: AuthGrant
}

/** A login's result, before core makes a token of it. Durations in seconds, 0 = the mount's or system's default. */
export interface AuthGrant {
  displayName: string
  policies: string[]
  metadata: Record<string, string>
  /** Name of the entity alias (for instance the user name). */
  alias?: string
  ttl: number
  maxTtl: number
  period: number
  explicitMaxTtl: number
  numUses: number
  renewable: boolean
  tokenType: 'default' | 'service' | 'batch'
  noDefaultPolicy: boolean
  boundCidrs: string[]
  /** Kept with the token's lease and handed back on renew. */
  internalData: Record<string, unknown>
}

/** A leased secret. Durations in seconds, 0 = the mount's default. */
export interface LeasedSecret {
  ttl: number
  maxTtl: number
  renewable: boolean
  internalData: Record<string, unknown>
}

export interface BackendResponse {
  /** `undefined` data with no auth gives 204. */
  data?: Record<string, unknown>
  warnings?: string[]
  secret?: LeasedSecret
  auth?: AuthGrant
  /** lease_duration shown for data without a lease (kv v1's ttl), seconds. */
  leaseDuration?: number
  /** HTTP status other than the default (for instance 404 with data, 202). */
  status?: number
  headers?: Record<string, string>
  /** A body that is not Vault's envelope. */
  raw?: { contentType: string; body: Uint8Array | string }
}

export type BackendErrorCode =
  /** 400 with the message. */
  | 'BACKEND_INVALID_REQUEST'
  /** 403 `permission denied`. */
  | 'BACKEND_PERMISSION_DENIED'
  /** 404 `{"errors":[]}`: nothing is there. */
  | 'BACKEND_NOT_FOUND'
  /** 404 `unsupported path`. */
  | 'BACKEND_UNSUPPORTED_PATH'
  /** 405 `unsupported operation`. */
  | 'BACKEND_UNSUPPORTED_OPERATION'
  /** A write of shared data on a performance secondary: the whole request is re-run on the primary. */
  | 'BACKEND_READ_ONLY'

export class BackendError extends Error {
  override readonly name = 'BackendError'
  readonly code: BackendErrorCode
  constructor(code: BackendErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Path sets a backend declares as data. Trailing `*` is a prefix match; `+` is one whole segment. */
export interface SpecialPaths {
  /** Reachable without a token. */
  unauthenticated?: readonly string[]
  /** Need sudo. */
  sudo?: readonly string[]
  /** Storage prefixes of class `local` inside a shared mount (sent to DR secondaries only). */
  localStorage?: readonly string[]
  /** On a performance secondary run these on the primary without trying locally. */
  forwardPerformanceSecondary?: readonly string[]
}

export interface Backend {
  readonly type: string
  readonly special: SpecialPaths
  /** Rejects with `BackendError`; `undefined` is 204 for writes and 404 `{"errors":[]}` for reads and lists. */
  handle(request: BackendRequest): Promise<BackendResponse | undefined>
  /** Whether the object a POST/PUT addresses exists; `undefined` when the path has no such notion (then `update`). */
  exists?(request: BackendRequest): Promise<boolean | undefined>
  /** A stored key (relative to the mount) was changed by replication: drop what is cached of it. */
  invalidate?(key: string): void
  /** Called about once a minute on nodes that may write this mount's data. */
  periodic?(storage: BackendStorage): Promise<void>
  close?(): Promise<void>
}

export interface BackendContext {
  /** Mount options as given at enable, e.g. `{ version: "2" }`. */
  options: Readonly<Record<string, string>>
  mountUuid: string
  mountAccessor: string
  storage: BackendStorage
  /** Effective mount TTLs in seconds, re-read on every use. */
  ttl(): { default: number; max: number }
  /** Milliseconds since the epoch. */
  now(): number
  log(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>): void
}

export type BackendFactory = (context: BackendContext) => Promise<Backend> | Backend
