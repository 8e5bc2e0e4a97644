/** The facts of a running cluster for its diagnosis: status documents, probes of the primary's addresses, storage, log, filters. */
import { X509Certificate } from 'node:crypto'
import { primaryServerName } from '@lockstep/bootstrap'
import { type Plain, parsePartitionId } from '@lockstep/replication'
import type { FilteredView, LoggedStore } from '@lockstep/replication-driver'
import { ALPN } from '@lockstep/replication-transport'
import type { Clock } from '../../contracts.ts'
import type { StorageHealth } from '../canary.ts'
import { INSPECT, parseHeldPage } from '../inspect/inspect-held.ts'
import {
  isDetached,
  type PrimaryRecord,
  type ReplicationKind,
  type RoleRecord,
  type SecondaryRecord,
} from '../role-records.ts'
import { type Diagnosis, diagnosis, type Found, ok } from './diagnostics.ts'
import { filterCheck } from './filter-check.ts'
import { secondaryLagCheck, upstreamLagCheck } from './lag-checks.ts'
import { certificateCheck, probeChecks } from './link-checks.ts'
import { probeLink } from './link-probe.ts'
import { logCheck } from './log-check.ts'
import { type NodeFacts, nodesCheck } from './nodes-check.ts'
import { clockCheck, type PeerFacts, peerStorageCheck } from './peer-checks.ts'
import { epochCheck, versionCheck } from './refusal-checks.ts'
import { repairCheck } from './repair-check.ts'
import { storageCheck } from './storage-check.ts'

const KINDS: readonly ReplicationKind[] = ['performance', 'dr']
const MAX_PROBED = 16
const PROBE_STEP_MS = 2_000
const ASK_MS = 2_000
/** Behind every partition id: an answer without partitions. */
const NO_PARTITIONS = '~'

type StatusDocument = Record<string, unknown>

export interface DiagnosticsComponents {
  clock: Clock
  store: Pick<LoggedStore, 'log' | 'forest'>
  record(kind: ReplicationKind): RoleRecord
  status(kind: ReplicationKind): Promise<StatusDocument>
  /** Undefined when nothing probes the storage. */
  storage(): StorageHealth | undefined
  /** The performance primary's view of a secondary, and a way to call it. */
  view(id: string): FilteredView | undefined
  request(id: string, method: string, body: Plain, options: { timeoutMs: number }): Promise<Plain>
  /** Other nodes of the cluster; undefined where there can be none. */
  nodes?: (() => Promise<NodeFacts[]>) | undefined
}

export interface Diagnostician {
  diagnose(): Promise<Diagnosis>
}

export function diagnostician(components: DiagnosticsComponents): Diagnostician {
  const { clock, store, record, status } = components

  async function ofPrimary(kind: ReplicationKind, role: PrimaryRecord, document: StatusDocument): Promise<Found[]> {
    const now = clock.now()
    const secondaries = items(document.secondaries)
    const found: Found[] = [
      epochCheck(kind, {
        ...(typeof document.fenced_by_epoch === 'number' ? { fencedByEpoch: document.fenced_by_epoch } : {}),
        ...(typeof document.fenced_by === 'string' ? { fencedBy: document.fenced_by } : {}),
        lastError: '',
      }),
      ofCertificate(kind, 'authority', role.ca.certificatePem, now),
      ofCertificate(kind, 'listener', role.server.certificate, now),
    ]
    const head = store.log.head().index
    for (const item of secondaries) {
      const peer = peerFacts(item, text(item.node_id))
      const behind = Math.max(0, head - count(item.last_acknowledged_wal))
      found.push(
        secondaryLagCheck(kind, { ...peer, behind, streaming: text(item.state) === 'stream-wals' }, now),
        clockCheck(kind, peer),
        peerStorageCheck(kind, peer),
      )
    }
    if (kind === 'performance') {
      found.push(...(await Promise.all(secondaries.map((item) => ofFilter(text(item.node_id))))))
    }
    if (secondaries.length === 0) found.push(ok('lag', 'no secondary is known', { kind }))
    return found
  }

  async function ofFilter(name: string): Promise<Found> {
    const view = components.view(name)
    if (view === undefined) return filterCheck({ name, withheld: 0, inForce: undefined })
    const withheld = new Set<string>()
    for (const id of store.forest.partitions()) {
      const partition = parsePartitionId(id)
      if (partition?.class !== 'replicated') continue
      if (!view.ships(partition, view.mountPathOf(partition.mount) ?? '')) withheld.add(partition.mount)
    }
    const inForce = await components
      .request(name, INSPECT, { after: NO_PARTITIONS }, { timeoutMs: ASK_MS })
      .then((body) => parseHeldPage(body, NO_PARTITIONS).view === view.id)
      .catch(() => undefined)
    return filterCheck({ name, withheld: withheld.size, inForce })
  }

  async function ofSecondary(kind: ReplicationKind, role: SecondaryRecord, document: StatusDocument): Promise<Found[]> {
    const now = clock.now()
    const lastError = text(document.last_error)
    const connected = document.connection_state === 'ready'
    const addresses = Array.isArray(document.known_primary_cluster_addrs) ? document.known_primary_cluster_addrs : []
    const detached = isDetached(role)
    const found: Found[] = [
      upstreamLagCheck(kind, {
        state: text(document.state),
        connectionState: text(document.connection_state),
        lagMs: count(document.lag_ms),
        lastError: connected ? '' : lastError,
        detached,
      }),
      epochCheck(kind, { lastError: connected ? '' : lastError }),
      repairCheck(kind, {
        guardFailures: count(document.guard_failures),
        streamFaults: count(document.stream_faults),
        rounds: count(document.diff_rounds),
        reason: text(document.last_diff_reason),
        lastRepair: repairText(document.last_repair),
      }),
    ]
    const version = connected ? undefined : versionCheck(kind, lastError)
    if (version !== undefined) found.push(version)
    for (const item of items(document.primaries)) {
      const peer = peerFacts(item, 'primary')
      found.push(clockCheck(kind, peer), peerStorageCheck(kind, peer))
    }
    if (role.credentials === null || detached) return found
    const { caCertificate: ca, certificate: cert, privateKey: key } = role.credentials
    found.push(ofCertificate(kind, 'authority', ca, now), ofCertificate(kind, 'own', cert, now))
    const results = await Promise.all(
      addresses.slice(0, MAX_PROBED).map((address) =>
        probeLink({
          address: String(address),
          servername: primaryServerName(role.clusterId),
          alpn: ALPN[kind],
          ca,
          // A working link has shown that the certificate is taken, and would be replaced by the probe's.
          ...(connected ? {} : { client: { cert, key } }),
          timeoutMs: PROBE_STEP_MS,
        }),
      ),
    )
    return [...found, ...probeChecks(kind, results, connected)]
  }

  async function ofKind(kind: ReplicationKind): Promise<Found[]> {
    const role = record(kind)
    if (role.mode === 'disabled') return [ok('role', 'disabled', { kind })]
    const document = await status(kind)
    const mode = ok('role', `${role.mode} of the set ${role.clusterId}`, { kind })
    return [
      mode,
      ...(await (role.mode === 'primary' ? ofPrimary(kind, role, document) : ofSecondary(kind, role, document))),
    ]
  }

  function ofLog(): Found {
    if (KINDS.every((kind) => record(kind).mode !== 'primary')) return ok('log', 'none is kept: no primary role is on')
    const { log } = store
    return logCheck({
      ...{ bytes: log.bytes(), caps: log.caps, head: log.head().index, oldest: log.oldest() },
      consumers: log.consumers(),
    })
  }

  async function diagnose(): Promise<Diagnosis> {
    const parts = await Promise.all([
      ...KINDS.map(ofKind),
      components.nodes?.().then(nodesCheck) ?? nodesCheck(undefined),
    ])
    const found = parts.flat()
    found.push(ofLog(), storageCheck(components.storage(), clock.now()))
    return diagnosis(found, clock.now())
  }

  let running: Promise<Diagnosis> | undefined
  return {
    // Whoever asks while one is made gets that one: the primary is not to be dialled as often as somebody asks.
    diagnose() {
      running ??= diagnose().finally(() => {
        running = undefined
      })
      return running
    },
  }
}

function ofCertificate(kind: ReplicationKind, name: string, pem: string, now: number): Found {
  const { validFrom, validTo } = new X509Certificate(pem)
  return certificateCheck(kind, name, { from: Date.parse(validFrom), to: Date.parse(validTo) }, now)
}

function peerFacts(item: StatusDocument, name: string): PeerFacts {
  return {
    name,
    connected: item.connection_status === 'connected',
    lastHeartbeat: Date.parse(text(item.last_heartbeat)) || 0,
    clockSkewMs: Number(item.clock_skew_ms) || 0,
    canaryAgeMs: Number(item.replication_primary_canary_age_ms) || 0,
  }
}

function repairText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return ''
  const { reason, keys, found_at: found, repaired_at: repaired } = value as Record<string, unknown>
  return `${reason}, found ${found}, ${repaired === '' ? 'under way' : `done ${repaired}`}, ${keys} keys`
}

const items = (value: unknown): StatusDocument[] => (Array.isArray(value) ? (value as StatusDocument[]) : [])
const text = (value: unknown): string => (typeof value === 'string' ? value : '')
const count = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0)
