import { ConfigError } from './config-error.ts'
import type { Section } from './section.ts'
import type { ReplicationConfig } from './server-config.ts'

const MIB = 1024 * 1024
const MINUTE = 60_000
const DAY = 86_400_000

export function readReplication(roots: readonly Section[]): ReplicationConfig {
  const blocks = roots.flatMap((root) => root.sections('replication'))
  if (blocks.length > 1) throw new ConfigError(`${blocks[1]!.where} is configured more than once`)
  const block = blocks[0]
  const length = block?.integer('logshipper_buffer_length')
  if (length !== undefined && length < 1) block!.refuse('logshipper_buffer_length', 'at least 1')
  const size = block?.size('logshipper_buffer_size')
  if (size !== undefined && size < MIB) block!.refuse('logshipper_buffer_size', 'at least "1mib"')
  const age = block?.duration('logshipper_buffer_age') ?? DAY
  if (age < MINUTE) block!.refuse('logshipper_buffer_age', 'at least "1m"')
  const viaToken = block?.string('allow_forwarding_via_token') ?? ''
  if (viaToken !== '' && viaToken !== 'new_token') block!.refuse('allow_forwarding_via_token', '"new_token" or ""')
  return {
    resolverDiscoverServers: block?.boolean('resolver_discover_servers') ?? true,
    logshipperBufferLength: length,
    logshipperBufferSize: size,
    logshipperBufferAge: age,
    allowForwardingViaHeader: block?.boolean('allow_forwarding_via_header') ?? false,
    bestEffortWalWaitDuration: block?.duration('best_effort_wal_wait_duration') ?? 2_000,
    allowForwardingViaToken: viaToken as ReplicationConfig['allowForwardingViaToken'],
    scrubInterval: block?.duration('scrub_interval') ?? DAY,
  }
}
