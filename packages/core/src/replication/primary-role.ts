/** A running primary of one kind: accepts its secondaries on the cluster port and keeps a session for each. */
import { fingerprint, primaryServerName } from '@lockstep/bootstrap'
import type { Link, Plain } from '@lockstep/replication'
import {
  type FilteredView,
  filteredView,
  type LoggedStore,
  type SecondaryHandle,
  serveSecondary,
} from '@lockstep/replication-driver'
import { ALPN, type ClusterListener, type ProtocolRegistration } from '@lockstep/replication-transport'
import type { Clock, Log } from '../contracts.ts'
import type { RequestFromSecondary } from './requests-from-secondaries.ts'
import type { FilterRecord, KnownSecondary, PrimaryRecord, ReplicationKind } from './role-records.ts'
import { commonStatus, type PeerStatus, peerItem } from './status.ts'

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
  /** When the storage last took a probing write. */
  canary(): number
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
  /** Calls a secondary's application. Rejects when there is no link to it. */
  request(id: string, method: string, body: Plain, options?: { timeoutMs?: number }): Promise<Plain>
  status(): Record<string, unknown>
  close(): Promise<void>
}

export interface PrimaryRoleInit {
  kind: ReplicationKind
  record: PrimaryRecord
  secondaries: readonly KnownSecondary[]
  filters: ReadonlyMap<string, FilterRecord>
}

interface Member {
  secondary: KnownSecondary
  view: FilteredView
  handle: SecondaryHandle | undefined
  link: Link | undefined
  /** Shown after the link is gone. */
  lastSeen: PeerStatus | undefined
}

/** The consumer under which the log is kept for a secondary. */
const consumer = (kind: ReplicationKind, id: string): string => `${kind}/${id}`

export function primaryRole(components: PrimaryRoleComponents, init: PrimaryRoleInit): PrimaryRole {
  const { store, listener, clock, log } = components
  const { kind, record } = init
  const members = new Map<string, Member>()

  function add(secondary: KnownSecondary, filter: FilterRecord | undefined): void {
    const view = filteredView({ kind, mountPathOf: (mount) => components.mounts.pathOf(mount), filter })
    members.set(secondary.id, { secondary, view, handle: undefined, link: undefined, lastSeen: undefined })
  }
  for (const secondary of init.secondaries) {
    add(secondary, init.filters.get(secondary.id))
    // Until it connects and says what it has, everything still kept is kept for it.
    store.log.retain(consumer(kind, secondary.id), store.log.oldest() - 1)
  }

  const registration: ProtocolRegistration = listener.register({
    alpn: ALPN[kind],
    servername: primaryServerName(record.clusterId),
    cert: record.server.certificate,
    key: record.server.privateKey,
    ca: record.ca.certificatePem,
    authorize(certificate) {
      const digest = fingerprint(certificate)
      for (const { secondary } of members.values()) if (secondary.fingerprint === digest) return { id: secondary.id }
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
        link,
        view: member.view,
        clock,
        onRequest: (method, body) => components.answer(link.peer, method, body),
      },
      {
        kind,
        clusterId: record.clusterId,
        secondaryId: link.peer,
        consumer: consumer(kind, link.peer),
        report: () => {
          const { api, cluster } = components.addresses()
          return { canary: components.canary(), addresses: cluster, apiAddress: api }
        },
      },
    )
    member.link = link
    member.handle = handle
    log.info('replication secondary connected', { kind, id: link.peer })
    void link.closed.then(({ error }) => {
      log.info('replication secondary disconnected', {
        kind,
        id: link.peer,
        ...(error ? { error: error.message } : {}),
      })
      if (member.link !== link) return
      member.lastSeen = peer(member, false)
      member.link = undefined
      member.handle = undefined
    })
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
    async request(id, method, body, options) {
      const handle = members.get(id)?.handle
      if (handle === undefined) throw new Error('the secondary is not connected')
      return handle.request(method, body, options)
    },
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
    if (status === undefined) return {}
    return {
      state: status.state,
      last_acknowledged_wal: status.acknowledged?.index ?? 0,
      in_flight_bytes: status.inFlightBytes,
    }
  }
}
