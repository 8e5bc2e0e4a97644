import { ConfigError } from './config-error.ts'
import type { Section } from './section.ts'
import type { ReplicationConfig } from './server-config.ts'

export function readReplication(roots: readonly Section[]): ReplicationConfig {
  const blocks = roots.flatMap((root) => root.sections('replication'))
  if (blocks.length > 1) throw new ConfigError(`${blocks[1]!.where} is configured more than once`)
  const block = blocks[0]
  const length = block?.integer('logshipper_buffer_length') ?? 16_384
  if (length < 1) block!.refuse('logshipper_buffer_length', 'at least 1')
  const viaToken = block?.string('allow_forwarding_via_token') ?? ''
  if (viaToken !== '' && viaToken !== 'new_token') block!.refuse('allow_forwarding_via_token', '"new_token" or ""')
  return {
    resolverDiscoverServers: block?.boolean('resolver_discover_servers') ?? true,
    logshipperBufferLength: length,
    logshipperBufferSize: block?.size('logshipper_buffer_size'),
    allowForwardingViaHeader: block?.boolean('allow_forwarding_via_header') ?? false,
    bestEffortWalWaitDuration: block?.duration('best_effort_wal_wait_duration') ?? 2_000,
    allowForwardingViaToken: viaToken as ReplicationConfig['allowForwardingViaToken'],
  }
}
