import type { Consistency } from '../consistency/consistency.ts'
import type {
  AuditBroker,
  Clock,
  ForwardToPrimary,
  LeaseManager,
  Log,
  MountTable,
  PolicyStore,
  TokenStore,
  WrappingStore,
} from '../contracts.ts'

export interface RequestComponents {
  mounts: MountTable
  tokens: TokenStore
  policies: PolicyStore
  leases: LeaseManager
  wrapping: WrappingStore
  audit: AuditBroker
  clock: Clock
  log: Log
  /** System-wide lease TTLs, seconds. */
  defaults: { defaultLeaseTtl: number; maxLeaseTtl: number }
  /** Present on a performance secondary. */
  forward?: ForwardToPrimary
  /** Default: never. */
  isPerformanceSecondary?(): boolean
  /** Default: answers name no state, and states that requests name are not looked at. */
  consistency?: Consistency
  /** This cluster's API address, for the `addr` claim of JWT wrapping tokens. */
  apiAddress?(): string
}
