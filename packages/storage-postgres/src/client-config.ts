import type { ClientConfig } from 'pg'
import type { PostgresConnection } from './connection.ts'

/** Settings every session has, whatever the URL, the server's or the role's defaults are. */
const SESSION = {
  // Acknowledged means flushed to disk (and by the synchronous standbys, where there are some).
  synchronous_commit: 'on',
  bytea_output: 'hex',
  // In which a session's start is read back without loss.
  DateStyle: 'ISO',
  // Each statement here is an index lookup or a bounded index range; on a table without statistics yet the planner
  // would now and then choose to read all of it.
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  jit: 'off',
  // And the plan is the same whatever the values are: made once for each statement and connection.
  plan_cache_mode: 'force_generic_plan',
  // A client that vanished must not hold locks for longer than this.
  idle_in_transaction_session_timeout: '60s',
  tcp_keepalives_idle: '2',
  tcp_keepalives_interval: '1',
  tcp_keepalives_count: '3',
} as const

/** How long a connection may take, and a statement may wait for one, ms. */
export const CONNECT_MS = 10_000

export function clientConfig(
  connection: string | PostgresConnection,
  session: Record<string, string> = {},
): ClientConfig {
  const options = Object.entries({ ...SESSION, ...session }).map(([name, value]) => `-c ${name}=${value}`)
  return {
    ...(typeof connection === 'string' ? { connectionString: connection } : connection),
    options: options.join(' '),
    fallback_application_name: 'lockstep',
    keepAlive: true,
    keepAliveInitialDelayMillis: 2000,
    connectionTimeoutMillis: CONNECT_MS,
  }
}
