import type {
  CoreRequest,
  CoreResponse,
  ForwardedAnswer,
  ForwardedRequest,
  MetricsSnapshot,
  OperatorCaller,
  RekeyAction,
  RekeyTarget,
  ServeForwarded,
} from '@lockstep/core'

export type HealthState = 'uninitialized' | 'sealed' | 'dr-secondary' | 'performance-standby' | 'standby' | 'active'

export type GenerateRootKind = 'root' | 'dr-operation'
export type GenerateRootAction = 'status' | 'start' | 'update' | 'cancel'

/**
 * All the HTTP layer knows of the core. Everything under `sys/` that needs a token goes through `handle`; the other methods
 * answer the paths that work without one, whose JSON is sent without an envelope. They reject with `CoreError`.
 */
export interface ServerCore {
  handle(request: CoreRequest): Promise<CoreResponse>
  initialized(): Promise<boolean>
  /** `PUT sys/init`. */
  initialize(params: Record<string, unknown>): Promise<Record<string, unknown>>
  sealStatus(): Promise<Record<string, unknown>>
  /** `GET sys/seal-backend-status`. */
  sealBackendStatus(): Promise<Record<string, unknown>>
  /** Replies with the seal status. */
  unseal(params: Record<string, unknown>): Promise<Record<string, unknown>>
  /** `undefined` is an empty 204. */
  generateRoot(
    kind: GenerateRootKind,
    action: GenerateRootAction,
    params: Record<string, unknown>,
    caller: OperatorCaller,
  ): Promise<Record<string, unknown> | undefined>
  /** `undefined` is an empty 204. */
  rekey(
    target: RekeyTarget,
    action: RekeyAction,
    params: Record<string, unknown>,
    caller: OperatorCaller,
  ): Promise<Record<string, unknown> | undefined>
  health(): Promise<{ state: HealthState; body: Record<string, unknown> }>
  leader(): Promise<Record<string, unknown>>
  /** Of this node, in any state; who may see them is not asked. */
  metrics(): Promise<MetricsSnapshot>
  /** Whether requests are another node's to answer, all but those about this node: `forward` takes them. Default: never. */
  standsBy?(): boolean
  /** The active node's answer, or the URL of the active node. */
  forward?(request: ForwardedRequest, options?: { holdMs?: number }): Promise<ForwardedAnswer | { redirect: string }>
  /** `data` of a replication status path as stored, for when the active node cannot be asked; undefined for any other path. */
  storedStatus?(path: string): Promise<Record<string, unknown> | undefined>
  /** To be told what answers requests that standbys forward to this node; it rejects with CORE_STANDBY when it did nothing. */
  serveForwarded?(serve: ServeForwarded): void
  close(): Promise<void>
  /** SIGHUP: reopen audit files and re-read what else lives outside the configuration. */
  reload?(): Promise<void>
}
