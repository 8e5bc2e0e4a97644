import { ConfigError } from './config-error.ts'
import type { Environment } from './environment.ts'
import { environmentValue } from './environment.ts'
import type { Section } from './section.ts'
import type { StorageConfig } from './server-config.ts'

const KINDS = "'level', 'postgresql' or 'inmem'"

/** `storage` and its old name `backend`, exactly one block. */
export function readStorage(roots: readonly Section[], environment: Environment): StorageConfig {
  const blocks = roots.flatMap((root) => [...root.labelled('storage'), ...root.labelled('backend')])
  const [block, second] = blocks
  if (block === undefined) throw new ConfigError(`no storage is configured: add storage "level" { path = "..." }`)
  if (second !== undefined) throw new ConfigError(`${second.section.where}: storage is configured more than once`)
  const { label, section } = block
  switch (label) {
    case 'level':
      return { type: 'level', path: section.string('path') || section.refuse('path', 'the path of the data directory') }
    case 'inmem':
      return { type: 'inmem' }
    case 'postgresql':
      return readPostgresql(section, environment)
    default:
      throw new ConfigError(`${section.where}: unknown storage type; it must be ${KINDS}`)
  }
}

function readPostgresql(section: Section, environment: Environment): StorageConfig {
  const configured = section.string('connection_url')
  const connectionUrl = environmentValue(environment, 'PG_CONNECTION_URL') ?? configured
  if (!connectionUrl) section.refuse('connection_url', 'a PostgreSQL connection URL')
  const table = section.string('table') ?? 'lockstep'
  // It becomes an identifier in SQL.
  if (!/^[a-z_][a-z0-9_]{0,54}$/i.test(table)) section.refuse('table', 'letters, digits and underscores')
  const maxParallel = section.integer('max_parallel') ?? 32
  if (maxParallel < 1) section.refuse('max_parallel', 'at least 1')
  section.ignore('max_idle_connections', 'ha_table')
  return {
    type: 'postgresql',
    connectionUrl: connectionUrl!,
    table,
    maxParallel,
    haEnabled: section.boolean('ha_enabled') ?? false,
  }
}
