/** A running primary of one kind: accepts its secondaries on the cluster port and keeps a session for each. */
import { fingerprint, primaryServerName } from '@lockstep/bootstrap'
import type { Cursor, Link, Plain, VersionRange } from '@lockstep/replication'
import {
  type FilteredView,
  filteredView,
  type LoggedStore,
  type SecondaryHandle,
  serveSecondary,
} from '@lockstep/replication-driver'
import { ALPN, type ClusterListener, type ProtocolRegistration } from '@lockstep/replication-transport'
import type { Clock, Log } from '../contracts.ts'
import { countTraffic, timedAnswer } from '../metrics/link-metrics.ts'
import type { Meter } from '../metrics/meter.ts'
import { neverRedeemed } from './activation/redeem-activation.ts'
import type { RequestFromSecondary } from './forwarding/requests-from-secondaries.ts'
import { type FencedRecord, watchingHello } from './promotion/fencing.ts'
import {
  encodeHandover,
  HANDOVER,
  HANDOVER_ANSWER_MS,
  type HandoverResult,
  parseHandoverAnswer,
} from './promotion/handover.ts'
import type { FilterRecord, KnownSecondary, PrimaryRecord, ReplicationKind } from './role-records.ts'
import { commonStatus, type PeerStatus, peerItem, rfc3339 } from './status.ts'

export interface MountPaths {
  /** `secret/`, `auth/x/`; "" for the core; undefined for a mount that is not known (deny by default). */
  pathOf(mount: string): string | undefined
}

export interface PrimaryRoleComponents {
  store: LoggedStore
  listener: ClusterListener
  mounts: MountPaths
  clock: Clock
  log: Log
  /** Answers what secondaries ask for: bootstrap, forwarded writes. */
  answer: RequestFromSecondary
  addresses(): { api: string; cluster: string[] }
  /** This cluster's own id: a DR secondary that was promoted has the set's authority, and so the same credentials are good at it. */
  leader: string | undefined
  /** When the storage last took a probing write. */
  canary(): number
  meter: Meter | undefined
  /** Default: all versions of this build. */
  protocol?: VersionRange | undefined
  /** A secondary has followed a later epoch than this cluster's: another was promoted. Told once for each later one. */
  onFenced(fenced: FencedRecord): void
}

export interface PrimaryRole {
  readonly record: PrimaryRecord
  known(): KnownSecondary[]
  /** Lets the secondary connect from now on. */
  add(secondary: KnownSecondary, filter?: FilterRecord): void
  /** Refuses it from now on and cuts the link it has. */
  revoke(id: string): void
  setFilter(id: string, filter: FilterRecord | undefined): void
  /** Views changed for a reason of their own: a mount moved or vanished. */
  viewsChanged(): void
  view(id: string): FilteredView | undefined
  /** Since this role runs: sessions that streamed on without a comparison, and comparisons begun. */
  sessions(): { streamed: number; diffs: number }
  /** Calls a secondary's application. Rejects when there is no link to it. */
  request(id: string, method: string, body: Plain, options?: { timeoutMs?: number }): Promise<Plain>
  /**
   * Tells every connected secondary that the log's head is the last record of all, once it has got it. To be called when
   * nothing of the kind is written any more. Resolves after `waitMs` at the latest, and a moment for the answers.
   */
  handOver(waitMs: number): Promise<HandoverResult[]>
  /** The later epoch a secondary has followed; undefined when none is known. */
  fenced(): FencedRecord | undefined
  status(): Record<string, unknown>
  close(): Promise<void>
}

export interface PrimaryRoleInit {
  kind: ReplicationKind
  record: PrimaryRecord
  secondaries: readonly KnownSecondary[]
  filters: ReadonlyMap<string, FilterRecord>
  /** As it was told in earlier lives. */
  fenced?: FencedRecord | undefined
}

interface Member {
  secondary: KnownSecondary
  view: FilteredView
  handle: SecondaryHandle | undefined
  link: Link | undefined
  /** Shown after the link is gone. */
  lastSeen: PeerStatus | undefined
  /** Why its last link ended; "" when none has. */
  lastError: string
}

/** The consumer under which the log is kept for a secondary. */
const consumer = (kind: ReplicationKind, id: string): string => `${kind}/${id}`

export function primaryRole(components: PrimaryRoleComponents, init: PrimaryRoleInit): PrimaryRole {
  const { store, listener, clock, log } = components
  const { kind, record } = init
  const members = new Map<string, Member>()
  const sessions = new Set<SecondaryHandle>()
  /** Of the sessions that have ended; `streamed` of all. */
  const ended = { streamed: 0, diffs: 0 }
  const streamed = new WeakSet<SecondaryHandle>()
  let fenced = init.fenced

  function add(secondary: KnownSecondary, filter: FilterRecord | undefined): void {
    const view = filteredView({ kind, mountPathOf: (mount) => components.mounts.pathOf(mount), filter })
    members.set(secondary.id, {
      secondary,
      view,
      handle: undefined,
      link: undefined,
      lastSeen: undefined,
      lastError: '',
    })
  }
  for (const secondary of init.secondaries) {
    add(secondary, init.filters.get(secondary.id))
    // Until it connects and says what it has, everything still kept is kept for it.
    store.log.retain(consumer(kind, secondary.id), store.log.oldest() - 1)
  }

  const registration: ProtocolRegistration = listener.register({
    alpn: ALPN[kind],
    onTraffic: countTraffic(components.meter, kind),
    servername: primaryServerName(record.clusterId),
    cert: record.server.certificate,
    key: record.server.privateKey,
    ca: record.ca.certificatePem,
    authorize(certificate) {
      const digest = fingerprint(certificate)
      for (const { secondary } of members.values()) {
        if (secondary.fingerprint !== digest) continue
        return neverRedeemed(secondary, clock.now())
          ? { refused: 'its activation token has expired unused' }
          : { id: secondary.id }
      }
      return { refused: 'the secondary is unknown or was revoked' }
    },
    onLink: accept,
  })

  function accept(link: Link): void {
    const member = members.get(link.peer)
    if (member === undefined) {
      link.close('unknown secondary')
      return
    }
    member.link?.close('replaced by a newer connection')
    const handle = serveSecondary(
      {
        store,
        link: watchingHello(link, (hello) => heardOfEpoch(link.peer, hello)),
        view: member.view,
        clock,
        onRequest: (method, body) =>
          timedAnswer(components.meter, method, () => components.answer(link.peer, method, body)),
      },
      {
        kind,
        clusterId: record.clusterId,
        leader: components.leader,
        secondaryId: link.peer,
        consumer: consumer(kind, link.peer),
        protocol: components.protocol,
        report: () => {
          const { api, cluster } = components.addresses()
          return { canary: components.canary(), addresses: cluster, apiAddress: api }
        },
      },
    )
    member.link = link
    member.handle = handle
    sessions.add(handle)
    void handle.ended.then(() => {
      ended.diffs += handle.status().rounds
      sessions.delete(handle)
    })
    log.info('replication secondary connected', { kind, id: link.peer })
    void handle.ended.then((why) => {
      log.info('replication secondary disconnected', { kind, id: link.peer, why })
      if (member.link !== link) return
      member.lastError = why
      member.lastSeen = peer(member, false)
      member.link = undefined
      member.handle = undefined
    })
  }

  function heardOfEpoch(id: string, { clusterId, epoch }: { clusterId: string; epoch: number }): void {
    const own = store.log.head().epoch
    if (clusterId !== record.clusterId || epoch <= Math.max(own, fenced?.epoch ?? 0)) return
    fenced = { epoch, by: id, at: clock.now() }
    log.error('another cluster was promoted: this primary is stale, demote it', {
      ...{ kind, secondary: id, own_epoch: own, fenced_by_epoch: epoch },
    })
    components.onFenced(fenced)
  }

  async function handOver(member: Member, last: Cursor, waitMs: number): Promise<HandoverResult> {
    const { id } = member.secondary
    const { handle } = member
    const index = handle?.status().acknowledged?.index ?? 0
    if (handle === undefined) return { id, complete: false, index }
    try {
      const body = encodeHandover({ last, waitMs })
      const answer = await handle.request(HANDOVER, body, { timeoutMs: waitMs + HANDOVER_ANSWER_MS })
      return { id, ...parseHandoverAnswer(answer) }
    } catch (error) {
      log.warn('a secondary did not answer to the handover', { kind, id, error: String(error) })
      return { id, complete: false, index: handle.status().acknowledged?.index ?? index }
    }
  }

  function peer(member: Member, connected: boolean): PeerStatus {
    const heartbeat = member.handle?.status().heartbeat
    if (heartbeat === undefined) {
      const none = {
        apiAddress: '',
        clusterAddress: '',
        lastHeartbeat: 0,
        roundTripMs: 0,
        clockSkewMs: 0,
        canaryAgeMs: 0,
      }
      return { ...none, ...member.lastSeen, connected: false, nodeId: member.secondary.id }
    }
    return {
      apiAddress: heartbeat.apiAddress,
      clusterAddress: heartbeat.addresses[0] ?? '',
      connected,
      lastHeartbeat: heartbeat.lastHeartbeat,
      roundTripMs: heartbeat.roundTripMs,
      clockSkewMs: heartbeat.clockSkewMs,
      canaryAgeMs: heartbeat.canaryAgeMs,
      nodeId: member.secondary.id,
    }
  }

  return {
    record,
    known: () => [...members.values()].map(({ secondary }) => secondary),
    add,
    revoke(id) {
      if (!members.delete(id)) return
      registration.disconnect(id, 'revoked')
      // Its word counts no longer.
      if (fenced?.by === id) fenced = undefined
      store.log.release(consumer(kind, id))
    },
    setFilter(id, filter) {
      const member = members.get(id)
      member?.view.setFilter(filter)
      member?.handle?.viewChanged()
    },
    viewsChanged() {
      for (const member of members.values()) member.handle?.viewChanged()
    },
    view: (id) => members.get(id)?.view,
    sessions() {
      let { diffs } = ended
      for (const handle of sessions) {
        const { rounds, state } = handle.status()
        diffs += rounds
        if (state !== 'stream-wals' || rounds > 0 || streamed.has(handle)) continue
        streamed.add(handle)
        ended.streamed++
      }
      return { streamed: ended.streamed, diffs }
    },
    async request(id, method, body, options) {
      const handle = members.get(id)?.handle
      if (handle === undefined) throw new Error('the secondary is not connected')
      return handle.request(method, body, options)
    },
    async handOver(waitMs) {
      const last = store.log.head()
      const results = await Promise.all([...members.values()].map((member) => handOver(member, last, waitMs)))
      for (const { id, complete, index } of results) {
        if (complete) continue
        log.warn('a secondary did not get the last record before the demotion', { kind, id, index, last: last.index })
      }
      return results
    },
    fenced: () => fenced,
    status() {
      const head = store.log.head().index
      const relevant = kind === 'dr' ? 'last_dr_wal' : 'last_performance_wal'
      return {
        ...commonStatus(store, kind, 'primary', record.clusterId),
        state: 'running',
        primary_cluster_addr: record.primaryClusterAddr,
        known_secondaries: [...members.keys()],
        last_wal: head,
        [relevant]: head,
        ...(fenced === undefined
          ? {}
          : { fenced_by_epoch: fenced.epoch, fenced_by: fenced.by, fenced_since: rfc3339(fenced.at) }),
        secondaries: [...members.values()].map((member) => ({
          ...peerItem(peer(member, member.link !== undefined)),
          ...shipped(member),
        })),
      }
    },
    async close() {
      await registration.unregister('the primary is shutting down')
      for (const id of members.keys()) store.log.release(consumer(kind, id))
      members.clear()
    },
  }

  /** Beyond Vault: how far each secondary is, as this end knows it. */
  function shipped(member: Member): Record<string, unknown> {
    const status = member.handle?.status()
    const { lastError: last_error } = member
    if (status === undefined) return { last_error }
    return {
      last_error,
      protocol: status.protocol,
      state: status.state,
      last_acknowledged_wal: status.acknowledged?.index ?? 0,
      in_flight_bytes: status.inFlightBytes,
    }
  }
}
