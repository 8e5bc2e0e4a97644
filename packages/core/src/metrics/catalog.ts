/**
 * Every metric there is, under Vault's name where Vault has one (without its prefix `vault.`). Labels hold what operators chose (activation
 * ids) and words of this list; never a path, a token or an address.
 */
export type MetricKind = 'gauge' | 'counter' | 'summary'

export const CATALOG = {
  'core.unsealed': ['gauge', '1 when this node is unsealed.'],
  'core.active': ['gauge', '1 when this node leads its cluster.'],
  'core.performance_standby': ['gauge', 'Always 0: standbys serve no reads.'],
  'core.replication.performance.primary': ['gauge', '1 when this cluster is a performance primary.'],
  'core.replication.performance.secondary': ['gauge', '1 when this cluster is a performance secondary.'],
  'core.replication.dr.primary': ['gauge', '1 when this cluster is a DR primary.'],
  'core.replication.dr.secondary': ['gauge', '1 when this cluster is a DR secondary.'],
  'core.replication.reindex_stage': ['gauge', '0 when no reindex runs, 2 while one does.'],
  'core.replication.build_progress': ['gauge', 'Keys that a running reindex has looked at.'],
  'core.replication.build_total': ['gauge', 'Keys that a running reindex has to look at.'],

  'ha.rpc.client.forward': ['summary', 'ms until the active node had answered a request that this standby forwarded.'],
  'ha.rpc.client.forward.errors': ['counter', 'Forwarded requests whose answer was lost.'],
  'ha.rpc.client.echo': ['summary', 'ms until the active node had answered an echo of this standby.'],
  'ha.rpc.client.echo.errors': ['counter', 'Echoes without an answer.'],

  'logshipper.buffer.length': ['gauge', 'Records of the log that are kept.'],
  'logshipper.buffer.size': ['gauge', 'Bytes of the log that are kept.'],
  'logshipper.buffer.max_size': ['gauge', 'Cap of the log, bytes.'],
  'logshipper.buffer.max_length': ['gauge', 'Cap of the log, records; absent when there is none.'],
  'logshipper.streamWALs.guard_found': ['counter', 'Sessions of secondaries that streamed on without a comparison.'],
  'logshipper.streamWALs.missing_guard': ['counter', 'Merkle comparisons begun with secondaries.'],

  'merkle.corrupted': ['gauge', '1 when the last check of the Merkle index found a difference to the data.'],
  'wal.persistWALs': ['summary', 'ms in which the storage wrote one group of commits, durably.'],
  'wal.flushReady': ['summary', 'ms from a write to its durability: a probing write every 5 s while a role is on.'],

  'replication.merkleDiff': ['summary', 'ms a comparison took until it knew what to fetch.'],
  'replication.merkleSync': ['summary', 'ms the fetching of what differed took.'],
  'replication.merkle.commit_index': ['gauge', 'Index of the log that the Merkle forest shows.'],
  'replication.wal.last_wal': ['gauge', 'Last index of the log.'],
  'replication.wal.last_performance_wal': ['gauge', 'Last index for performance secondaries.'],
  'replication.wal.last_dr_wal': ['gauge', 'Last index for DR secondaries.'],
  'replication.fsm.last_remote_wal': ['gauge', "Last index of the primary's log that is applied here."],
  'replication.rpc.server.bootstrap_request': ['summary', 'ms to answer a new secondary that asks for the keyring.'],
  'replication.rpc.server.forwarding_request': ['summary', 'ms to carry out a request that a secondary forwarded.'],
  'replication.rpc.client.forward': ['summary', 'ms until the primary had answered a forwarded request.'],

  'replication.log.age_seconds': ['gauge', 'Age of the oldest record of the log that is kept; 0 for none.'],
  'replication.log.max_age_seconds': ['gauge', 'Cap of that age.'],
  'replication.lag_seconds': ['gauge', 'How long this secondary has known of a newer record than it has applied.'],
  'replication.connected': ['gauge', '1 when the link to the primary is ready.'],
  'replication.streaming': ['gauge', '1 in the state stream-wals, 0 in a comparison or idle.'],
  'replication.diff_rounds': ['gauge', 'Comparisons on the present link.'],
  'replication.resumed_links': ['gauge', 'Links since this node leads that needed no comparison.'],
  'replication.merkle_diffs': ['gauge', 'Comparisons since this node leads.'],
  'replication.guard_failures': ['gauge', 'Proofs in a row that did not match; above 1 a repair did not help.'],
  'replication.stream_faults': ['gauge', 'Batches that came damaged or out of order.'],
  'replication.repairs': ['counter', 'Differences found and repaired, by what found them.'],
  'replication.repaired_keys': ['counter', 'Keys fetched or deleted by repairs.'],
  'replication.fenced': ['gauge', '1 when another cluster was promoted: this primary is stale.'],
  'replication.heartbeat_age_seconds': ['gauge', 'Time since the other end was last heard; -1 when it never was.'],
  'replication.clock_skew_seconds': ['gauge', "The other end's clock minus this one's."],
  'replication.canary_age_seconds': ['gauge', "Age of the last write that the other end's storage took."],
  'replication.secondary.connected': ['gauge', '1 when the secondary is connected.'],
  'replication.secondary.streaming': ['gauge', '1 when the secondary follows the log, 0 in a comparison.'],
  'replication.secondary.acknowledged_wal': ['gauge', 'Last index the secondary has made durable.'],
  'replication.secondary.lag_entries': ['gauge', 'Indexes between the last one and that.'],
  'replication.secondary.in_flight_bytes': ['gauge', 'Bytes sent and not yet acknowledged.'],
  'replication.secondary.bytes_behind': ['gauge', 'Bytes logged since what the secondary has acknowledged.'],
  'replication.link.bytes': ['counter', 'Bytes on replication links, by kind and direction.'],

  'seal.encrypt': ['counter', 'Encryptions by the auto seal.'],
  'seal.encrypt.error': ['counter', 'Those that failed.'],
  'seal.encrypt.time': ['summary', 'ms an encryption by the auto seal took.'],
  'seal.decrypt': ['counter', 'Decryptions by the auto seal.'],
  'seal.decrypt.error': ['counter', 'Those that failed.'],
  'seal.decrypt.time': ['summary', 'ms a decryption by the auto seal took.'],
  'seal.unreachable.time': ['gauge', 'ms since the auto seal first failed; 0 when its last use succeeded.'],

  'storage.canary_age_seconds': ['gauge', 'Age of the last probing write the storage took; -1 for none.'],
  'storage.canary_failing': ['gauge', '1 when the storage refused the last probing write.'],
} as const satisfies Record<string, readonly [MetricKind, string]>

export type MetricName = keyof typeof CATALOG
export type MetricNameOf<Kind extends MetricKind> = {
  [Name in MetricName]: (typeof CATALOG)[Name][0] extends Kind ? Name : never
}[MetricName]
