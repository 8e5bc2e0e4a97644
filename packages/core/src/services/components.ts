/** What the services of an unsealed cluster are built from. */
import type { BackendFactory } from '@lockstep/backend'
import type { ClusterListener } from '@lockstep/replication-transport'
import type { Clock, Log } from '../contracts.ts'
import type { LifeCycle } from '../seal-life-cycle/life-cycle.ts'

export interface Factories {
  /** By type; `cubbyhole` must be among them. */
  secret: ReadonlyMap<string, BackendFactory>
  auth: ReadonlyMap<string, BackendFactory>
}

export interface ServiceComponents {
  factories: Factories
  listener: ClusterListener
  parseHcl(text: string): Promise<Record<string, unknown>>
  clock: Clock
  log: Log
  lifeCycle(): LifeCycle
}

export interface ServiceOptions {
  /** Reported by seal-status and health; Vault-compatible. */
  version: string
  /** RFC 3339. */
  buildDate: string
  /** URL clients reach this node at; "" when not configured. */
  apiAddress: string
  /** URL secondaries and nodes reach the cluster port at. */
  clusterAddress: string
  /** Seconds. */
  defaultLeaseTtl: number
  maxLeaseTtl: number
  /** How long a forwarded write or an asked-for state is waited for, ms: `best_effort_wal_wait_duration`. */
  walWaitMs: number
  /** Clients may ask by header that a request is forwarded to the active node. Default false. */
  allowForwardingViaHeader?: boolean
  /** Configuration without secrets, for sys/config/state/sanitized. */
  sanitizedConfig?: Record<string, unknown>
}
