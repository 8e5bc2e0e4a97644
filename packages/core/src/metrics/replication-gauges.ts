/** Gauges read off the status documents of the roles and off log and storage: what the documents say, for machines. */
import type { LoggedStore } from '@lockstep/replication-driver'
import type { StorageHealth } from '../replication/canary.ts'
import type { ReplicationKind } from '../replication/role-records.ts'
import { type Sample, sample } from './meter.ts'

export interface ReplicationFacts {
  now: number
  log: Pick<LoggedStore['log'], 'head' | 'oldest' | 'bytes' | 'caps' | 'consumers' | 'oldestTime'>
  /** As the status endpoints show them. */
  status: Readonly<Record<ReplicationKind, Record<string, unknown>>>
  /** Undefined when nothing probes the storage. */
  storage: StorageHealth | undefined
  /** With secondaries, of each primary role since it runs. */
  sessions: readonly { streamed: number; diffs: number }[]
}

const KINDS: readonly ReplicationKind[] = ['performance', 'dr']

export function replicationGauges(facts: ReplicationFacts): Sample[] {
  const { now, log, status, storage, sessions } = facts
  const head = log.head().index
  const samples: Sample[] = [
    sample('replication.wal.last_wal', head),
    sample('replication.merkle.commit_index', head),
    sample('logshipper.buffer.length', Math.max(0, head - log.oldest() + 1)),
    sample('logshipper.buffer.size', log.bytes()),
    sample('logshipper.buffer.max_size', log.caps.bytes),
    ...(Number.isFinite(log.caps.records) ? [sample('logshipper.buffer.max_length', log.caps.records)] : []),
    sample('replication.log.age_seconds', Math.max(0, now - (log.oldestTime() ?? now)) / 1000),
    sample('replication.log.max_age_seconds', log.caps.ageMs / 1000),
    sample('logshipper.streamWALs.guard_found', sum(sessions, 'streamed')),
    sample('logshipper.streamWALs.missing_guard', sum(sessions, 'diffs')),
    ...reindex(status),
  ]
  for (const kind of KINDS) {
    const document = status[kind]
    if (document.mode === 'primary') samples.push(...ofPrimary(kind, document, log, now))
    else if (document.mode !== 'disabled') samples.push(...ofSecondary(kind, document, now))
  }
  if (storage !== undefined) {
    const since = storage.waitingSince || storage.writtenAt
    samples.push(
      sample('storage.canary_age_seconds', since === 0 ? -1 : (now - (storage.writtenAt || since)) / 1000),
      sample('storage.canary_failing', storage.error === '' ? 0 : 1),
    )
  }
  return samples
}

function reindex(status: ReplicationFacts['status']): Sample[] {
  const running = KINDS.map((kind) => status[kind]).find((document) => document.reindex_in_progress === true)
  const corrupted = KINDS.some((kind) => status[kind].corrupted_merkle_tree === true)
  return [
    sample('core.replication.reindex_stage', running === undefined ? 0 : 2),
    sample('core.replication.build_progress', number(running?.reindex_building_progress)),
    sample('core.replication.build_total', number(running?.reindex_building_total)),
    sample('merkle.corrupted', corrupted ? 1 : 0),
  ]
}

function ofPrimary(
  kind: ReplicationKind,
  document: Record<string, unknown>,
  log: ReplicationFacts['log'],
  now: number,
): Sample[] {
  const head = log.head().index
  const last = kind === 'dr' ? 'replication.wal.last_dr_wal' : 'replication.wal.last_performance_wal'
  const samples = [
    sample(last, head),
    sample('replication.fenced', document.fenced_by_epoch === undefined ? 0 : 1, { kind }),
  ]
  for (const item of items(document.secondaries)) {
    const labels = { kind, secondary: String(item.node_id) }
    const acknowledged = number(item.last_acknowledged_wal)
    const connected = item.connection_status === 'connected'
    samples.push(
      sample('replication.secondary.connected', connected ? 1 : 0, labels),
      sample('replication.secondary.streaming', connected && item.state === 'stream-wals' ? 1 : 0, labels),
      sample('replication.secondary.acknowledged_wal', acknowledged, labels),
      sample('replication.secondary.lag_entries', Math.max(0, head - acknowledged), labels),
      sample('replication.secondary.in_flight_bytes', number(item.in_flight_bytes), labels),
      ...log
        .consumers()
        .filter(({ consumer }) => consumer === `${kind}/${labels.secondary}`)
        .map(({ bytesBehind }) => sample('replication.secondary.bytes_behind', bytesBehind, labels)),
      ...ofPeer(item, { kind, peer: String(item.node_id) }, now),
    )
  }
  return samples
}

function ofSecondary(kind: ReplicationKind, document: Record<string, unknown>, now: number): Sample[] {
  const labels = { kind }
  return [
    sample('replication.fsm.last_remote_wal', number(document.last_remote_wal), labels),
    sample('replication.lag_seconds', number(document.lag_ms) / 1000, labels),
    sample('replication.connected', document.connection_state === 'ready' ? 1 : 0, labels),
    sample('replication.streaming', document.state === 'stream-wals' ? 1 : 0, labels),
    sample('replication.diff_rounds', number(document.diff_rounds), labels),
    sample('replication.resumed_links', number(document.resumed_links), labels),
    sample('replication.merkle_diffs', number(document.merkle_diffs), labels),
    sample('replication.guard_failures', number(document.guard_failures), labels),
    sample('replication.stream_faults', number(document.stream_faults), labels),
    ...items(document.primaries).flatMap((item) => ofPeer(item, { kind, peer: 'primary' }, now)),
  ]
}

function ofPeer(item: Record<string, unknown>, labels: Record<string, string>, now: number): Sample[] {
  const heard = Date.parse(String(item.last_heartbeat))
  return [
    sample('replication.heartbeat_age_seconds', Number.isNaN(heard) ? -1 : (now - heard) / 1000, labels),
    sample('replication.clock_skew_seconds', number(item.clock_skew_ms) / 1000, labels),
    sample('replication.canary_age_seconds', number(item.replication_primary_canary_age_ms) / 1000, labels),
  ]
}

function sum<Name extends string>(items: readonly Record<Name, number>[], name: Name): number {
  return items.reduce((total, item) => total + item[name], 0)
}

const items = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value : [])

/** Numbers, also as the texts that status items hold; 0 for what is missing. */
function number(value: unknown): number {
  const found = Number(value ?? 0)
  return Number.isFinite(found) ? found : 0
}
