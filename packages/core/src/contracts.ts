/**
 * The interfaces by which core's modules know each other. Each module is a lower-case factory that takes a small
 * `components` object naming only what it needs from this file, and returns one of these. All times are milliseconds
 * since the epoch unless named `ttl` (seconds). Every module that caches stored state has `invalidate(key)`, called with the
 * key relative to the module's storage view for every change that did not come from the module itself.
 */
import type { Readable } from 'node:stream'
import type {
  AuthGrant,
  Backend,
  BackendRequest,
  BackendResponse,
  BackendStorage,
  LeasedSecret,
  Operation,
} from '@lockstep/backend'
import type { Transaction } from '@lockstep/storage'

export interface Clock {
  now(): number
}
export interface Log {
  debug(message: string, fields?: Record<string, unknown>): void
  info(message: string, fields?: Record<string, unknown>): void
  warn(message: string, fields?: Record<string, unknown>): void
  error(message: string, fields?: Record<string, unknown>): void
}

// ---------------------------------------------------------------- requests

/** A request as the HTTP layer hands it over; `path` has no `/v1/` and no leading slash. */
export interface CoreRequest {
  id: string
  operation: Operation
  path: string
  data: Record<string, unknown>
  /** "" when the client sent none. */
  clientToken: string
  headers: Readonly<Record<string, string>>
  remoteAddress: string
  remotePort: number
  /** Seconds; 0 = no wrapping. */
  wrapTtl: number
  wrapFormat: '' | 'jwt'
  /** Absolute deadline; past it work on the request may be dropped. */
  deadline?: number
  /** The body as it comes, of a path that takes more than JSON; `data` is empty then. Read once. */
  body?: AsyncIterable<Uint8Array>
}

export interface WrapInfo {
  token: string
  accessor: string
  ttl: number
  /** RFC 3339. */
  creation_time: string
  creation_path: string
  wrapped_accessor?: string
}

/** `auth` of the envelope. */
export interface AuthBlock {
  client_token: string
  accessor: string
  policies: string[]
  token_policies: string[]
  identity_policies?: string[]
  metadata: Record<string, string> | null
  lease_duration: number
  renewable: boolean
  entity_id: string
  token_type: 'service' | 'batch'
  orphan: boolean
  mfa_requirement: null
  num_uses: number
}

export interface CoreResponse {
  status: number
  headers?: Record<string, string>
  /** Exactly one of the three, or none for an empty 204. */
  envelope?: {
    request_id: string
    lease_id: string
    renewable: boolean
    lease_duration: number
    data: Record<string, unknown> | null
    wrap_info: WrapInfo | null
    warnings: string[] | null
    auth: AuthBlock | null
  }
  /** Keys of `data` repeated at top level (core-api.md, "Top-injected"). */
  injectData?: boolean
  /** A JSON body without envelope. */
  bare?: unknown
  raw?: { contentType: string; body: Uint8Array | string }
  /** In place of `raw`: a body made while it is sent. To be read to its end or destroyed. */
  stream?: BodyStream
  /** What is left to do once the request is over, before it is answered. */
  conclusion?: Conclusion
  /** `X-Vault-Index`: the state the answer was given in. */
  index?: string
}

export interface BodyStream {
  contentType: string
  body: Readable
}

/** Either is called, once. */
export interface Conclusion {
  run(): Promise<void>
  /** In place of `run`, when the request has failed after all. */
  discard(): Promise<void>
}

/** A place in a cluster's log. Epochs count promotions; a later one is after any index of an earlier one. */
export interface LogPlace {
  epoch: number
  index: number
}

/**
 * What core's own backends (sys/, auth/token/, cubbyhole/) are handed in place of a plain `BackendRequest`. Plug-ins never
 * see the caller's token. A built-in reads it as `request as CoreBackendRequest`.
 */
export interface CoreBackendRequest extends BackendRequest {
  /** The caller's entry; absent on unauthenticated paths called without a valid token. */
  token?: TokenEntry
  /** The caller's compiled policies; absent with `token`. */
  acl?: Acl
  /** The request as it came in: raw client token, all headers, port, wrap format. */
  source: CoreRequest
}

/** What core's own backends may answer beyond a plug-in. */
export interface CoreBackendResponse extends BackendResponse {
  /** A token the backend made or renewed itself (auth/token/create, renew): shown as it is, no second token is made. */
  authBlock?: AuthBlock
  /** A lease the backend already knows (sys/leases/renew): shown as it is, nothing is registered. `duration` in seconds. */
  lease?: { id: string; renewable: boolean; duration: number }
  /** A JSON body without envelope. */
  bare?: unknown
  /** Shown as `wrap_info` with `data` null (sys/wrapping/rewrap). */
  wrapInfo?: WrapInfo
  stream?: BodyStream
  /** With an empty response. */
  conclusion?: Conclusion
}

export type CoreErrorCode =
  | 'CORE_INVALID_REQUEST' // 400
  | 'CORE_PERMISSION_DENIED' // 403
  | 'CORE_NOT_FOUND' // 404 with errors: [message] or [] when message is ""
  | 'CORE_UNSUPPORTED_OPERATION' // 405
  | 'CORE_INDEX_NOT_PRESENT' // 412
  | 'CORE_SEALED' // 503 "Vault is sealed"
  | 'CORE_STANDBY' // 503/307
  | 'CORE_UNAVAILABLE' // 503
  | 'CORE_INTERNAL' // 500

/** `message` is what the client sees; secrets never go in it. Rendered as `{"errors":[message]}`. */
export class CoreError extends Error {
  override readonly name = 'CoreError'
  readonly code: CoreErrorCode
  /** As of a response. */
  index?: string
  constructor(code: CoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

// ---------------------------------------------------------------- policy

export interface AclDecision {
  allowed: boolean
  /** The token has root or the sudo capability here. */
  sudo: boolean
  root: boolean
  /** For audit's policy_results. */
  grantingPolicies: { name: string; type: 'acl' | 'root' }[]
}

export interface AclQuery {
  operation: Operation
  path: string
  data: Record<string, unknown>
  wrapTtl: number
  /** The path is one of its mount's sudo paths: allowed only with root or the sudo capability. Default false. */
  needsSudo?: boolean
}

/** Whom policy templates (`{{identity...}}`) speak of. */
export interface PolicyIdentity {
  /** Changes whenever an answer of `resolve` may have changed, for instance entity id and last update. */
  key: string
  /** Text of an expression such as `identity.entity.name`; undefined when there is none. */
  resolve(expression: string): string | undefined
}

export interface Acl {
  readonly root: boolean
  authorize(query: AclQuery): AclDecision
  /** Sorted Vault capability names; ["root"] or ["deny"] alone where they apply. */
  capabilities(path: string): string[]
  /** Whether any rule grants anything at or below `prefix` (internal/ui/mounts). */
  hasAccessUnder(prefix: string): boolean
  /** For sys/internal/ui/resultant-acl. */
  describe(): { root: boolean; exact_paths: Record<string, unknown>; glob_paths: Record<string, unknown> }
}

export interface PolicyStore {
  /** Raw text; `root` gives "". */
  get(name: string): Promise<{ name: string; policy: string } | undefined>
  /** Rejects with CORE_INVALID_REQUEST `failed to parse policy: ...`. Names are lower-cased. */
  set(name: string, policy: string): Promise<void>
  delete(name: string): Promise<void>
  /** Sorted, then `root`. */
  list(): Promise<string[]>
  /**
   * Compiled and cached per policy set; the array must not be changed afterwards. Synchronous result when cached. Rules with
   * templates that `identity` cannot resolve are left out. Names that do not exist grant nothing.
   */
  acl(policies: readonly string[], identity?: PolicyIdentity): Promise<Acl> | Acl
  /** Writes `default` when it is absent. */
  loadDefaults(): Promise<void>
  invalidate(key: string): void
}

// ---------------------------------------------------------------- tokens

export interface TokenEntry {
  /** The token itself. Only in memory and in the encrypted record. */
  id: string
  accessor: string
  /** Parent token id, "" = orphan. */
  parent: string
  policies: string[]
  /** Creation path, for instance auth/token/create. */
  path: string
  meta: Record<string, string> | null
  displayName: string
  /** 0 = unlimited; counts down; -1 = spent, being revoked. */
  numUses: number
  creationTime: number
  ttl: number
  explicitMaxTtl: number
  period: number
  type: 'service' | 'batch'
  role: string
  entityId: string
  boundCidrs: string[]
  renewable: boolean
  orphan: boolean
  /** Salted name of the token's own cubbyhole; "" for batch. */
  cubbyholeId: string
}

export type NewToken = Partial<Omit<TokenEntry, 'accessor' | 'creationTime' | 'orphan' | 'cubbyholeId'>> & {
  policies: string[]
  path: string
}

export interface TokenStore {
  /**
   * Stores a service token (entry, accessor and parent index in one transaction together with its lease), or mints a batch token
   * without storage. `ttl` 0 only for root. `id` may be given (checked for prefix `s.`/`hvs.` collisions).
   */
  create(
    token: NewToken,
    options?: {
      /** The grant a login gave, kept with the lease: its `internalData` and `maxTtl` are what a renewal starts from. */
      auth?: AuthGrant
      leaseInternalData?: Record<string, unknown>
      transaction?: Transaction
    },
  ): Promise<TokenEntry>
  /** The live entry; undefined for unknown, expired, revoked or malformed tokens. Constant-time where it compares. */
  lookup(id: string): Promise<TokenEntry | undefined> | TokenEntry | undefined
  lookupAccessor(accessor: string): Promise<TokenEntry | undefined>
  /** Uses up one of a limited token's uses; false when it was the last (caller revokes after the request). */
  consumeUse(entry: TokenEntry): Promise<{ last: boolean }>
  revoke(id: string): Promise<void>
  /** Revokes the token, its children become orphans. */
  revokeOrphan(id: string): Promise<void>
  accessors(): Promise<string[]>
  tidy(): Promise<void>
  invalidate(key: string): void
}

// ---------------------------------------------------------------- leases

export interface Lease {
  id: string
  path: string
  kind: 'secret' | 'auth'
  /** Owning token id for secrets; the token itself for auth leases, "" when such a lease was read by its id alone. */
  clientToken: string
  issueTime: number
  expireTime: number // 0 = never
  lastRenewal: number // 0 = never
  renewable: boolean
  internalData: Record<string, unknown>
  /** Durations for renew. */
  ttl: number
  maxTtl: number
  auth?: AuthGrant
}

export interface LeaseManager {
  registerSecret(input: {
    path: string
    clientToken: string
    secret: LeasedSecret
    data: Record<string, unknown> | null
  }): Promise<Lease & { warnings: string[] }>
  /** Within the caller's transaction when given, so that a token and its lease appear together. */
  registerToken(input: { entry: TokenEntry; auth: AuthGrant; transaction?: Transaction }): Promise<Lease>
  tokenLease(entry: TokenEntry): Promise<Lease | undefined> | Lease | undefined
  lookup(leaseId: string): Promise<Lease | undefined>
  /** Rejects with CORE_INVALID_REQUEST `lease not found`, `lease is not renewable`, `past the max TTL, cannot renew`. */
  renew(
    leaseId: string,
    increment: number,
  ): Promise<{ lease: Lease; response: BackendResponse | undefined; warnings: string[] }>
  renewToken(entry: TokenEntry, increment: number): Promise<{ lease: Lease; warnings: string[] }>
  revoke(leaseId: string): Promise<void>
  revokePrefix(prefix: string, options: { force: boolean }): Promise<void>
  revokeByToken(entry: TokenEntry): Promise<void>
  list(prefix: string): Promise<string[]>
  count(): number
  /** Restores timers after unseal or promotion. */
  restore(): Promise<void>
  stop(): void
  invalidate(key: string): void
}

// ---------------------------------------------------------------- wrapping

export interface WrappingStore {
  /** Puts the JSON text of `response` behind a single-use token. `format: 'jwt'` gives an ES512 JWT whose jti is that token. */
  wrap(input: {
    response: unknown
    ttl: number
    path: string
    format: '' | 'jwt'
    wrappedAccessor?: string
    /** JWT `addr` claim. */
    address?: string
  }): Promise<WrapInfo>
  lookup(token: string): Promise<{ creation_ttl: number; creation_time: string; creation_path: string }>
  /** The wrapped JSON text, once. Rejects 400 `wrapping token is not valid or does not exist`. Accepts the JWT form too. */
  unwrap(token: string): Promise<string>
  rewrap(token: string): Promise<WrapInfo>
  /** The inner token id of a JWT-format token after its signature was verified; any other token unchanged. */
  resolve(token: string): Promise<string>
  publicKeyPem(): Promise<string>
}

// ---------------------------------------------------------------- audit

export interface AuditRecord {
  type: 'request' | 'response'
  time: number
  request: CoreRequest
  /** Parameter-free facts of the caller; undefined on unauthenticated paths. */
  token?: TokenEntry
  decision?: AclDecision
  mount?: { point: string; type: string; accessor: string; class: 'secret' | 'auth' }
  response?: CoreResponse
  error?: string
}

export interface AuditBroker {
  /** Rejects when devices exist and none accepted the record: the request must then fail with 500. Returns synchronously when no device is enabled. */
  write(record: AuditRecord): Promise<void> | void
  enable(
    path: string,
    config: { type: string; description: string; options: Record<string, string>; local: boolean },
  ): Promise<void>
  disable(path: string): Promise<void>
  list(): Record<
    string,
    { type: string; path: string; description: string; options: Record<string, string>; local: boolean }
  >
  /** `hmac-sha256:<hex>` under the device's salt. */
  hash(path: string, input: string): Promise<string>
  load(): Promise<void>
  reopen(): Promise<void>
  invalidate(key: string): void
  close(): Promise<void>
}

// ---------------------------------------------------------------- mounts

export interface MountEntry {
  /** With trailing slash, without `auth/`. */
  path: string
  table: 'secret' | 'auth'
  type: string
  description: string
  uuid: string
  accessor: string
  local: boolean
  sealWrap: boolean
  options: Record<string, string>
  /** Being removed: routes nothing, data is being deleted. */
  tainted: boolean
  config: {
    default_lease_ttl: number
    max_lease_ttl: number
    force_no_cache: boolean
    token_type?: string
    listing_visibility?: string
    passthrough_request_headers?: string[]
    allowed_response_headers?: string[]
    audit_non_hmac_request_keys?: string[]
    audit_non_hmac_response_keys?: string[]
  }
}

export interface RoutedMount {
  entry: MountEntry
  backend: Backend
  /** `secret/` or `auth/userpass/`. */
  point: string
  /** Storage of the mount, relative keys; what the backend was given. */
  storage: BackendStorage
  /** sys/, auth/token/ or cubbyhole/: handed a `CoreBackendRequest`. */
  builtin: boolean
}

export interface MountTable {
  /** Longest matching mount for a full request path, or undefined. */
  route(path: string): RoutedMount | undefined
  entries(table: 'secret' | 'auth'): MountEntry[]
  byAccessor(accessor: string): RoutedMount | undefined
  enable(
    table: 'secret' | 'auth',
    path: string,
    input: {
      type: string
      description?: string
      local?: boolean
      sealWrap?: boolean
      options?: Record<string, string>
      config?: Partial<MountEntry['config']>
    },
  ): Promise<MountEntry>
  disable(table: 'secret' | 'auth', path: string): Promise<void>
  tune(
    table: 'secret' | 'auth',
    path: string,
    change: Partial<MountEntry['config']> & { description?: string; options?: Record<string, string> },
  ): Promise<void>
  remount(from: string, to: string): Promise<void>
  load(): Promise<void>
  /** `core/mounts/<uuid>` changed upstream, or a key below a mount: `key` is the full barrier key. */
  invalidate(key: string): Promise<void>
  close(): Promise<void>
}

export interface PrimaryAnswer {
  response: BackendResponse | undefined
  /** The primary's log when it had answered. */
  place: LogPlace
}

/**
 * Runs a request on the performance primary and brings back the backend's response, before tokens or leases are made of it. With
 * `untilApplied` (default) it resolves when what the request did is applied here, or with a warning after best_effort_wal_wait_duration.
 */
export type ForwardToPrimary = (
  request: CoreRequest,
  caller: TokenEntry | undefined,
  options?: { untilApplied?: boolean; timeoutMs?: number },
) => Promise<PrimaryAnswer>
