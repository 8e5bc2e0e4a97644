/** The status document of each role, field for field as Vault's clients read it (replication-api.md, section 2). */
import type { LoggedStore } from '@lockstep/replication-driver'
import { inKind } from './in-kind.ts'
import type { ModeWord } from './manager.ts'
import type { ReplicationKind } from './role-records.ts'

const ROOT_BYTES = 20

/** One end of a link as a status item shows it. */
export interface PeerStatus {
  apiAddress: string
  clusterAddress: string
  connected: boolean
  /** ms since the epoch, 0 = none yet. */
  lastHeartbeat: number
  roundTripMs: number
  clockSkewMs: number
  canaryAgeMs: number
  nodeId?: string
}

/** First 20 bytes of the composed root of all that the kind of replication compares, as 40 hex digits. */
export function merkleRoot(store: LoggedStore, kind: ReplicationKind): string {
  const root = store.forest.composedRoot((id) => inKind(kind, id))
  return Buffer.from(root.subarray(0, ROOT_BYTES)).toString('hex')
}

/** The index's own fields come from `maintenance/reindex`. */
export function commonStatus(store: LoggedStore, kind: ReplicationKind, mode: ModeWord, clusterId: string) {
  return {
    mode,
    cluster_id: clusterId,
    merkle_root: merkleRoot(store, kind),
    ssct_generation_counter: 0,
  }
}

/** Numbers are strings here, as Vault's clients decode them. */
export function peerItem(peer: PeerStatus): Record<string, unknown> {
  return {
    api_address: peer.apiAddress,
    cluster_address: peer.clusterAddress,
    connection_status: peer.connected ? 'connected' : 'disconnected',
    last_heartbeat: rfc3339(peer.lastHeartbeat),
    last_heartbeat_duration_ms: String(Math.round(peer.roundTripMs)),
    clock_skew_ms: String(Math.round(peer.clockSkewMs)),
    replication_primary_canary_age_ms: String(Math.round(peer.canaryAgeMs)),
    ...(peer.nodeId === undefined ? {} : { node_id: peer.nodeId }),
  }
}

/** Only during a sync. The documentation shows both at the top, Vault's web interface reads them inside `merkle_sync_progress`. */
export function syncFields(sync: { progress: number; total: number } | null): Record<string, unknown> {
  if (sync === null) return {}
  const shown = { sync_progress: sync.progress, sync_total_keys: sync.total }
  return { merkle_sync_progress: shown, ...shown }
}

/** "" when there was none. */
export function rfc3339(time: number): string {
  return time === 0 ? '' : new Date(time).toISOString()
}
