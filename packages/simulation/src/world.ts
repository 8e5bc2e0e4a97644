/** What the parts of a simulation share. */
import type { Checks } from './checks.ts'
import type { Clients } from './clients.ts'
import type { Cluster, Role } from './cluster.ts'
import type { Kernel } from './kernel.ts'
import type { Filter } from './keys.ts'
import type { Network } from './network.ts'
import type { Operator } from './operator.ts'
import type { Random } from './random.ts'

export interface World {
  readonly kernel: Kernel
  readonly network: Network
  readonly clusters: ReadonlyMap<string, Cluster>
  readonly roles: Map<string, Role>
  readonly checks: Checks
  readonly clients: Clients
  readonly operator: Operator
  /** Clusters that stay down until they are let go. */
  readonly held: Set<string>
  /** A new disk for a cluster that is not the leader; it starts over. */
  replaceDisk(cluster: Cluster): void
  readonly settings: { logBytes: number }
}

export const PATHS: readonly string[] = ['secret/', 'pii/', 'eu/', 'auth/x/']

export function randomFilter(random: Random): Filter | undefined {
  if (random.chance(0.4)) return undefined
  return { mode: random.pick(['allow', 'deny']), paths: PATHS.filter(() => random.chance(0.4)) }
}
