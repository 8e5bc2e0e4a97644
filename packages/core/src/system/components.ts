import type { BackendFactory, Path } from '@lockstep/backend'
import type { AuditBroker, Clock, LeaseManager, Log, PolicyStore, TokenStore, WrappingStore } from '../contracts.ts'
import type { MetricsSnapshot } from '../metrics/meter.ts'
import type { Random } from '../mounts/mount-identity.ts'
import type { Mounts } from '../mounts/mount-table.ts'
import type { AuditedHeaders } from './audited-headers.ts'

export interface SystemComponents {
  mounts: Mounts
  policies: PolicyStore
  tokens: TokenStore
  /** `irrevocable`: leases whose revocation was given up; sys/leases does not list them when it is absent. */
  leases: LeaseManager & { irrevocable?(prefix?: string): Promise<{ id: string; error: string }[]> }
  wrapping: WrappingStore
  audit: AuditBroker
  clock: Clock
  random: Random
  log: Log
  /** What seal-status reports, for instance `1.14.8`. */
  version: string
  /** System-wide lease TTLs, seconds. */
  defaults: { defaultLeaseTtl: number; maxLeaseTtl: number }
  /** What can be mounted, for the plugin catalog. */
  factories: Record<'secret' | 'auth', ReadonlyMap<string, BackendFactory>>
  barrier: BarrierControl
  /** sys/config/auditing/request-headers; not offered when absent. */
  auditedHeaders?: AuditedHeaders
  /** sys/seal. The answer is sent before the server seals. */
  seal(): Promise<void>
  /** sys/step-down. */
  stepDown(): Promise<void>
  /** Default: never. */
  isPerformanceSecondary?(): boolean
  /** sys/ha-status; not offered when absent. */
  haNodes?(): Promise<Record<string, unknown>[]> | Record<string, unknown>[]
  /** sys/config/state/sanitized: the server's configuration without secrets; not offered when absent. */
  sanitizedConfig?(): Record<string, unknown>
  /** sys/version-history, oldest first; not offered when absent. */
  versionHistory?(): Promise<VersionRecord[]> | VersionRecord[]
  /** sys/in-flight-req: requests under way by id; not offered when absent. */
  inFlight?(): Record<string, unknown>
  metrics?(): Promise<MetricsSnapshot>
  /** Paths of other modules (replication, rekey and the like). */
  extraPaths?: readonly Path[]
  extraUnauthenticated?: readonly string[]
  extraSudo?: readonly string[]
}

export interface BarrierControl {
  rotate(): Promise<void>
  /** `installTime`: milliseconds since the epoch. */
  keyStatus(): KeyStatus | Promise<KeyStatus>
  /** sys/rotate/config; not offered when absent. */
  rotation?: {
    get(): RotationConfig | Promise<RotationConfig>
    set(change: Partial<RotationConfig>): Promise<void>
  }
}

export interface KeyStatus {
  term: number
  installTime: number
  encryptions: number
}

export interface RotationConfig {
  enabled: boolean
  /** Seconds; 0 = never by age. */
  interval: number
  maxOperations: number
}

export interface VersionRecord {
  version: string
  /** Milliseconds since the epoch. */
  installed: number
  buildDate: string
}
