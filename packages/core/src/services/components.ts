/** What the services of an unsealed cluster are built from. */
import type { BackendFactory } from '@lockstep/backend'
import type { VersionRange } from '@lockstep/replication'
import type { ClusterListener } from '@lockstep/replication-transport'
import type { AutoSeal } from '@lockstep/seal'
import type { Clock, Log } from '../contracts.ts'
import type { Meter, MetricsSnapshot } from '../metrics/meter.ts'
import type { LifeCycle } from '../seal-life-cycle/life-cycle-contract.ts'
import type { NodeRecord } from '../seal-life-cycle/node-registry.ts'
import type { Rekeying } from '../seal-life-cycle/rekeying.ts'
import type { SnapshotsOptions } from '../snapshots/snapshots.ts'

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
  meter: Meter
  metrics(): Promise<MetricsSnapshot>
  rekeying: Rekeying
  /** The nodes over this storage; undefined where there is only one. */
  nodes: (() => Promise<NodeRecord[]>) | undefined
  autoSeal?: AutoSeal | undefined
  /** sys/ha-status. */
  haNodes(): Promise<Record<string, unknown>[]>
}

export interface ServiceOptions extends SnapshotsOptions {
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
  /** Replication protocol versions to speak. Default: all that this build has. */
  protocol?: VersionRange | undefined
  /** Dial the addresses the primary tells of, beside those given at activation. Default true. */
  resolverDiscoverServers?: boolean
  /** Between two comparisons of the Merkle index with the data, ms; 0 or absent = none. */
  scrubIntervalMs?: number
  /** Whether clients may ask for forwarding by header. Default false. */
  allowForwardingViaHeader?: boolean
  /** Default "". */
  allowForwardingViaToken?: '' | 'new_token'
  /** Configuration without secrets, for sys/config/state/sanitized. */
  sanitizedConfig?: Record<string, unknown>
}
