/** What the roles say of themselves: to the status endpoints, to health and to metrics. */
import type { LoggedStore } from '@lockstep/replication-driver'
import type { Clock } from '../contracts.ts'
import type { LeaseHold } from '../leases/lease-hold.ts'
import type { Sample } from '../metrics/meter.ts'
import { replicationGauges } from '../metrics/replication-gauges.ts'
import type { IndexCare } from './maintenance/reindex.ts'
import type { ModeWord, ReplicationManager } from './manager.ts'
import type { ReplicationKind, RoleRecord } from './role-records.ts'
import type { RunningRoles } from './running-roles.ts'

export interface ShownRolesComponents {
  clock: Clock
  store: Pick<LoggedStore, 'log'>
  inForce: Readonly<Record<ReplicationKind, RoleRecord>>
  running: Pick<RunningRoles, 'primaries' | 'secondaries' | 'storage'>
  care: Pick<IndexCare, 'status'>
  leaseHold?: Pick<LeaseHold, 'state'> | undefined
}

export interface ShownRoles extends Pick<ReplicationManager, 'mode' | 'status'> {
  /** `bootstrapping` in place of `secondary` until the first sync is over. */
  shownMode(kind: ReplicationKind): ModeWord
  metrics(): Promise<Sample[]>
}

export function shownRoles(components: ShownRolesComponents): ShownRoles {
  const { clock, store, inForce, care, leaseHold } = components
  const { primaries, secondaries, storage } = components.running

  async function status(kind: ReplicationKind): Promise<Record<string, unknown>> {
    const shown = primaries[kind]?.status() ?? secondaries[kind]?.status()
    if (shown === undefined) return { mode: 'disabled' }
    const held = leaseHold?.state() !== undefined
    const afterPromotion = kind === 'dr' && inForce.dr.mode === 'primary' ? { lease_revocation_held: held } : {}
    return { ...shown, ...care.status(kind), ...afterPromotion }
  }

  return {
    mode: (kind) => inForce[kind].mode,
    status,
    shownMode: (kind) => secondaries[kind]?.mode() ?? inForce[kind].mode,
    async metrics() {
      const sessions = Object.values(primaries).map((role) => role.sessions())
      const shown = { performance: await status('performance'), dr: await status('dr') }
      return replicationGauges({ now: clock.now(), log: store.log, status: shown, storage: storage(), sessions })
    },
  }
}
