/** A running secondary of one kind: follows its primary, and carries requests to it. */
import {
  type HeartbeatStatus,
  NO_POSITION,
  type Plain,
  type Position,
  type Repair,
  type VersionRange,
} from '@lockstep/replication'
import {
  acceptTagged,
  type FollowHandle,
  type FollowStatus,
  followPrimary,
  type LoggedStore,
} from '@lockstep/replication-driver'
import type { ClassRules } from '@lockstep/storage-classes'
import type { Clock, Log } from '../contracts.ts'
import { countTraffic, timeComparisons } from '../metrics/link-metrics.ts'
import type { Meter } from '../metrics/meter.ts'
import type { Unsealed } from '../seal-life-cycle/services.ts'
import { answerInspect, INSPECT } from './inspect/inspect-held.ts'
import type { Recovery } from './maintenance/recover.ts'
import { cursorRecord } from './promotion/cursor-record.ts'
import {
  encodeHandoverAnswer,
  HANDOVER,
  type HandoverRecord,
  type HandoverResult,
  holdsAll,
  parseHandover,
} from './promotion/handover.ts'
import { type Heard, heardMemory } from './promotion/heard.ts'
import { encodeRejoined, REJOINED } from './promotion/rejoined.ts'
import type { AddressRecord } from './resolver/address-book.ts'
import { primaryResolver } from './resolver/primary-resolver.ts'
import { isDetached, type ReplicationKind, roleKeys, type SecondaryRecord } from './role-records.ts'
import { sessionCount } from './session-count.ts'
import { commonStatus, peerItem, rfc3339, syncFields } from './status.ts'
import { preserving, type UnreplicatedSet } from './unreplicated/unreplicated.ts'

export interface SecondaryRoleComponents {
  store: LoggedStore
  classes: ClassRules
  clock: Clock
  log: Log
  addresses(): { api: string; cluster: string[] }
  canary(): number
  meter: Meter | undefined
  /** Default: all versions of this build. */
  protocol?: VersionRange | undefined
  /** Dial the addresses the primary tells of, beside those given at activation. Default true. */
  resolve?: boolean | undefined
  /** The primary told of other addresses than those known, or another one answers. */
  onAddresses(record: AddressRecord): void
  /** A later epoch is followed than before. Told once for each, and for the first. */
  onEpoch?(epoch: number): void
  keyring: Unsealed['keyring']
  /** The primary was demoted and told which record was its last. Durable when resolved. */
  onHandover(handover: HandoverRecord): Promise<void>
}

/** What earlier lives have left. */
export interface SecondaryRoleInit {
  addresses?: AddressRecord | undefined
  handover?: HandoverRecord | undefined
  /** What is to be kept of this cluster's own entries until the first comparison with the primary is over. */
  preserve?: UnreplicatedSet | undefined
  /** It has held all of the primary's state before, or was the primary. Default: yes. */
  synced?: boolean
  /** How far each secondary came when this cluster was demoted. */
  handedTo?: readonly HandoverResult[]
}

export interface SecondaryRole {
  readonly record: SecondaryRecord
  status(): Record<string, unknown>
  /** Rejects when there is no link or no answer in time. */
  request(method: string, body: Plain, options?: { timeoutMs?: number }): Promise<Plain>
  /** Resolves true once what the primary had logged up to `index` is applied here, false after `timeoutMs`. */
  applied(index: number, timeoutMs: number): Promise<boolean>
  /** `bootstrapping` until the first sync is over. */
  mode(): 'secondary' | 'bootstrapping'
  /** What a promotion is judged by, as far as the running link knows. */
  upstream(): UpstreamFacts
  /** How far it has come in the primary's log, as stored. */
  position(): Position
  /** Dials now, or has everything compared when the link is up. */
  recover(reason?: string): Recovery
  /** What the link has shown; undefined when there is none to be. */
  heartbeat(): HeartbeatStatus | undefined
  close(): Promise<void>
}

export interface UpstreamFacts {
  /** Since this process follows the primary; undefined = nothing. */
  heard: Heard | undefined
  lagMs: number
  /** Why there is no link; "" when there is one, or is none to be. */
  lastError: string
  handover: HandoverRecord | undefined
  handedTo: readonly HandoverResult[]
}

/** Times as RFC 3339; `repaired_at` is "" while the repair is under way. */
function shownRepair({ reason, from, to, keys, at, repairedAt }: Repair): Record<string, unknown> {
  return { reason, after_wal: from, to_wal: to, keys, found_at: rfc3339(at), repaired_at: rfc3339(repairedAt) }
}

/** The primary pings every second. */
const SILENT_MS = 3_000

const REPEATED_MS = 60_000

/** A primary that is away is dialled every other second; why it cannot be had is logged when it changes, and once a minute. */
function withoutRepeats(log: Log, clock: Clock): Pick<Log, 'info' | 'warn'> {
  let last = ''
  let at = 0
  return {
    info: (message, fields) => log.info(message, fields),
    warn(message, fields) {
      const text = `${message} ${JSON.stringify(fields)}`
      if (text === last && clock.now() - at < REPEATED_MS) return
      last = text
      at = clock.now()
      log.warn(message, fields)
    },
  }
}

const NEVER_STARTED = { state: 'idle', connection_state: 'shutdown' }

export function secondaryRole(
  components: SecondaryRoleComponents,
  kind: ReplicationKind,
  record: SecondaryRecord,
  init: SecondaryRoleInit = {},
): SecondaryRole {
  const { store, classes, clock, log } = components
  const { handedTo = [], preserve } = init
  const startedAt = clock.now()
  const traffic = countTraffic(components.meter, kind)
  const compared = timeComparisons(components.meter, kind)
  const sessions = sessionCount()
  let { handover } = init
  let synced = init.synced ?? true
  const memory = heardMemory(clock)
  let epoch = 0
  const rejoining = record.led === undefined ? undefined : tellRejoined(record.led.epoch)

  const resolver = isDetached(record)
    ? undefined
    : primaryResolver(
        { clock, log, onTraffic: traffic, onAddresses: components.onAddresses },
        {
          ...{ kind, clusterId: record.clusterId, credentials: record.credentials! },
          ...{ given: record.primaryClusterAddrs, stored: init.addresses, discover: components.resolve ?? true },
        },
      )
  const follower: FollowHandle | undefined =
    resolver &&
    followPrimary(
      {
        store: preserve === undefined ? store : preserving(store, components.keyring, preserve),
        clock,
        log: withoutRepeats(log, clock),
        accept: acceptTagged(classes, kind),
        dial: resolver.dial,
        report: () => {
          const { api, cluster } = components.addresses()
          return { canary: components.canary(), addresses: cluster, apiAddress: api }
        },
        onRequest: (method, body) => {
          if (method === INSPECT) return answerInspect(body, kind, store.forest, position)
          if (method === HANDOVER) return onHandover(body)
          return Promise.reject(new Error(`unknown request ${method.slice(0, 64)}`))
        },
        onState: (status) => {
          compared(status)
          sessions.observe(status)
          if (status.position.epoch > epoch) {
            epoch = status.position.epoch
            components.onEpoch?.(epoch)
          }
          memory.observe(status)
          rejoining?.(status)
        },
      },
      {
        kind,
        secondaryId: record.secondaryId,
        positionKey: roleKeys.cursor(kind),
        protocol: components.protocol,
        // Short, because a cluster whose active node died has another one within seconds.
        backoff: { minMs: 100, maxMs: 2000 },
      },
    )

  async function onHandover(body: Plain): Promise<Plain> {
    const { last, waitMs } = parseHandover(body)
    await follower?.applied(last.index, waitMs)
    const told: HandoverRecord = { ...cursorRecord(last), at: clock.now() }
    await components.onHandover(told)
    handover = told
    const complete = holdsAll(position(), told)
    log.info('the primary was demoted and told its last record', { kind, index: last.index, complete })
    return encodeHandoverAnswer({ complete, index: position().cursor?.index ?? 0 })
  }

  /** Once on each link, as the primary may not have been able to note it. */
  function tellRejoined(ledEpoch: number): (status: FollowStatus) => void {
    let told = false
    return ({ state, position: { epoch } }) => {
      if (state !== 'stream-wals') {
        told = false
        return
      }
      if (told || epoch <= ledEpoch) return
      told = true
      follower?.request(REJOINED, encodeRejoined(ledEpoch)).catch((error: unknown) => {
        log.info('the primary could not be told that its predecessor is back', { kind, error: String(error) })
      })
    }
  }

  function position(): Position {
    return follower?.status().position ?? NO_POSITION
  }

  /** What was not heard of can be missing: on a link that is silent, lag is at least the time since the last news. */
  function lagOf({ lagMs, heartbeat }: FollowStatus): number {
    const silence = heartbeat.lastHeartbeat === 0 ? 0 : clock.now() - heartbeat.lastHeartbeat
    return silence < SILENT_MS ? lagMs : Math.max(lagMs, silence)
  }

  function mode(): 'secondary' | 'bootstrapping' {
    synced ||= position().cursor !== null
    return synced ? 'secondary' : 'bootstrapping'
  }

  return {
    record,
    status() {
      const common = {
        ...commonStatus(store, kind, mode(), record.clusterId),
        secondary_id: record.secondaryId,
        primary_cluster_addr: record.primaryClusterAddrs[0] ?? '',
        known_primary_cluster_addrs: resolver?.all() ?? [],
        last_start: rfc3339(startedAt),
      }
      if (follower === undefined) {
        const handed = record.credentials === null ? { handover: handedTo } : {}
        return { ...common, ...NEVER_STARTED, last_remote_wal: 0, primaries: [], ...handed }
      }
      const status = follower.status()
      const { heartbeat, sync } = status
      sessions.observe(status)
      return {
        ...common,
        state: status.state,
        connection_state: status.connectionState,
        last_remote_wal: status.lastRemoteWal,
        ...syncFields(sync),
        primaries: [
          peerItem({
            apiAddress: heartbeat.apiAddress || (record.primaryApiAddr ?? ''),
            clusterAddress: heartbeat.addresses[0] || resolver!.active() || (record.primaryClusterAddrs[0] ?? ''),
            connected: status.connectionState === 'ready',
            lastHeartbeat: heartbeat.lastHeartbeat,
            roundTripMs: heartbeat.roundTripMs,
            clockSkewMs: heartbeat.clockSkewMs,
            canaryAgeMs: heartbeat.canaryAgeMs,
          }),
        ],
        // Beyond Vault: which node of the primary leads, lag without comparing two clusters, and why the last comparison was made.
        active_primary_cluster_addr: resolver!.active(),
        last_primary_failover: rfc3339(resolver!.movedAt()),
        lag_ms: lagOf(status),
        primary_head_wal: status.primaryHead,
        last_diff_reason: status.diffReason,
        diff_rounds: status.rounds,
        resumed_links: sessions.resumed(),
        merkle_diffs: sessions.compared(),
        guard_failures: status.guardFailures,
        stream_faults: status.streamFaults,
        ...(status.lastRepair === null ? {} : { last_repair: shownRepair(status.lastRepair) }),
        last_error: status.lastError,
        protocol: status.protocol,
      }
    },
    async request(method, body, options) {
      if (follower === undefined) throw new Error('this secondary has no primary')
      return follower.request(method, body, options)
    },
    applied: async (index, timeoutMs) => follower?.applied(index, timeoutMs) ?? false,
    mode,
    upstream() {
      const status = follower?.status()
      if (status !== undefined) memory.observe(status)
      return {
        heard: memory.value(),
        lagMs: status === undefined ? 0 : lagOf(status),
        lastError: status === undefined || status.connectionState === 'ready' ? '' : status.lastError,
        handover,
        handedTo,
      }
    },
    position,
    recover(reason = 'an operator asked for it') {
      if (follower === undefined) return 'detached'
      if (follower.status().connectionState !== 'ready') {
        follower.retry()
        return 'dialled'
      }
      follower.compare(reason)
      return 'compared'
    },
    heartbeat: () => follower?.status().heartbeat,
    async close() {
      resolver?.close()
      await follower?.close()
    },
  }
}
