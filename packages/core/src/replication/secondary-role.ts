/** A running secondary of one kind: follows its primary, and carries requests to it. */
import { type HeartbeatStatus, NO_POSITION, type Plain, type Position } from '@lockstep/replication'
import { acceptTagged, type FollowHandle, followPrimary, type LoggedStore } from '@lockstep/replication-driver'
import type { ClassRules } from '@lockstep/storage-classes'
import type { Clock, Log } from '../contracts.ts'
import { dialPrimary } from './dial-primary.ts'
import { dialable } from './primary-address.ts'
import { answerInspect, INSPECT } from './inspect-held.ts'
import { type ReplicationKind, roleKeys, type SecondaryRecord } from './role-records.ts'
import { commonStatus, peerItem, rfc3339 } from './status.ts'

export interface SecondaryRoleComponents {
  store: LoggedStore
  classes: ClassRules
  clock: Clock
  log: Log
  addresses(): { api: string; cluster: string[] }
  canary(): number
  /** The primary told of addresses other than those known. */
  onAddresses(addresses: string[]): void
}

export interface SecondaryRole {
  readonly record: SecondaryRecord
  status(): Record<string, unknown>
  /** Rejects when there is no link or no answer in time. */
  request(method: string, body: Plain, options?: { timeoutMs?: number }): Promise<Plain>
  /** Resolves true once what the primary had logged up to `index` is applied here, false after `timeoutMs`. */
  applied(index: number, timeoutMs: number): Promise<boolean>
  /** Nothing that the primary was heard to have is missing here. What it never told of cannot be known. */
  caughtUp(): boolean
  /** How far it has come in the primary's log, as stored. */
  position(): Position
  /** What the link has shown; undefined when there is none to be. */
  heartbeat(): HeartbeatStatus | undefined
  close(): Promise<void>
}

const NEVER_STARTED = { state: 'idle', connection_state: 'shutdown' }

export function secondaryRole(
  components: SecondaryRoleComponents,
  kind: ReplicationKind,
  record: SecondaryRecord,
  /** Addresses heard of in earlier lives. */
  heardBefore: readonly string[] = [],
): SecondaryRole {
  const { store, classes, clock, log } = components
  const startedAt = clock.now()
  let known = dialable([...heardBefore, ...record.primaryClusterAddrs])

  const follower: FollowHandle | undefined =
    record.credentials === null || record.primaryClusterAddrs.length === 0
      ? undefined
      : followPrimary(
          {
            store,
            clock,
            log,
            accept: acceptTagged(classes, kind),
            dial: (signal) => dialPrimary(kind, record.clusterId, learnAddresses(), record.credentials!, signal),
            report: () => {
              const { api, cluster } = components.addresses()
              return { canary: components.canary(), addresses: cluster, apiAddress: api }
            },
            onRequest: (method, body) =>
              method === INSPECT
                ? answerInspect(body, kind, store.forest, position)
                : Promise.reject(new Error(`unknown request ${method.slice(0, 64)}`)),
          },
          {
            kind,
            secondaryId: record.secondaryId,
            positionKey: roleKeys.cursor(kind),
            backoff: { minMs: 100, maxMs: 5000 },
          },
        )

  function position(): Position {
    return follower?.status().position ?? NO_POSITION
  }

  /** The resolver: addresses the primary tells of are dialled first, those given at activation stay as a last resort. */
  function learnAddresses(): readonly string[] {
    const heard = dialable(follower?.status().heartbeat.addresses ?? [])
    const all = dialable([...heard, ...record.primaryClusterAddrs])
    if (heard.length > 0 && all.join() !== known.join()) {
      known = all
      components.onAddresses(heard)
    }
    return known
  }

  return {
    record,
    status() {
      const common = {
        ...commonStatus(store, kind, 'secondary', record.clusterId),
        secondary_id: record.secondaryId,
        primary_cluster_addr: record.primaryClusterAddrs[0] ?? '',
        known_primary_cluster_addrs: record.primaryClusterAddrs.length === 0 ? [] : learnAddresses(),
        last_start: rfc3339(startedAt),
      }
      if (follower === undefined) return { ...common, ...NEVER_STARTED, last_remote_wal: 0, primaries: [] }
      const status = follower.status()
      const { heartbeat, sync } = status
      return {
        ...common,
        state: status.state,
        connection_state: status.connectionState,
        last_remote_wal: status.lastRemoteWal,
        ...(sync === null
          ? {}
          : {
              merkle_sync_progress: { sync_progress: sync.progress, sync_total_keys: sync.total },
              sync_progress: sync.progress,
              sync_total_keys: sync.total,
            }),
        primaries: [
          peerItem({
            apiAddress: heartbeat.apiAddress || (record.primaryApiAddr ?? ''),
            clusterAddress: heartbeat.addresses[0] ?? record.primaryClusterAddrs[0] ?? '',
            connected: status.connectionState === 'ready',
            lastHeartbeat: heartbeat.lastHeartbeat,
            roundTripMs: heartbeat.roundTripMs,
            clockSkewMs: heartbeat.clockSkewMs,
            canaryAgeMs: heartbeat.canaryAgeMs,
          }),
        ],
        // Beyond Vault: lag without comparing two clusters, and why the last comparison was made.
        lag_ms: status.lagMs,
        primary_head_wal: status.primaryHead,
        last_diff_reason: status.diffReason,
        diff_rounds: status.rounds,
        guard_failures: status.guardFailures,
        stream_faults: status.streamFaults,
        last_error: status.lastError,
      }
    },
    async request(method, body, options) {
      if (follower === undefined) throw new Error('this secondary has no primary')
      return follower.request(method, body, options)
    },
    applied: async (index, timeoutMs) => follower?.applied(index, timeoutMs) ?? false,
    caughtUp() {
      const status = follower?.status()
      if (status === undefined || status.position.cursor === null) return false
      return status.position.cursor.index >= status.primaryHead
    },
    position,
    heartbeat: () => follower?.status().heartbeat,
    close: async () => follower?.close(),
  }
}
