/** Without a token, not audited, and hidden by `disable_replication_status_endpoints`. */
export const STATUS_PATHS: ReadonlySet<string> = new Set([
  'sys/replication/status',
  'sys/replication/performance/status',
  'sys/replication/dr/status',
])
