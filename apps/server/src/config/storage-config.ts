import { parseBool } from '../http/parse-bool.ts'
import { ConfigError } from './config-error.ts'
import type { Environment } from './environment.ts'
import { environmentValue } from './environment.ts'
import type { Section } from './section.ts'
import type { StorageConfig } from './server-config.ts'

const KINDS = "'level', 'postgresql', 'etcd' or 'inmem'"

/** `storage` and its old name `backend`, exactly one block. */
export function readStorage(roots: readonly Section[], environment: Environment): StorageConfig {
  const blocks = roots.flatMap((root) => [...root.labelled('storage'), ...root.labelled('backend')])
  const [block, second] = blocks
  if (block === undefined) throw new ConfigError(`no storage is configured: add storage "level" { path = "..." }`)
  if (second !== undefined) throw new ConfigError(`${second.section.where}: storage is configured more than once`)
  return readStorageBlock(block.label, block.section, environment)
}

export function readStorageBlock(label: string, section: Section, environment: Environment): StorageConfig {
  switch (label) {
    case 'level':
      return { type: 'level', path: section.string('path') || section.refuse('path', 'the path of the data directory') }
    case 'inmem':
      return { type: 'inmem' }
    case 'postgresql':
      return readPostgresql(section, environment)
    case 'etcd':
      return readEtcd(section, environment)
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

const LEAST_REQUEST_BYTES = 256 * 1024

/** Vault's fields and their environment variables, which go before the file as in Vault. */
function readEtcd(section: Section, environment: Environment): StorageConfig {
  const option = (key: string, variable: string) => {
    const configured = section.string(key)
    return environment[variable] || configured || undefined
  }
  if (section.has('discovery_srv')) section.refuse('discovery_srv', 'left out; name the members in address')
  if ((section.string('etcd_api') ?? 'v3') !== 'v3') section.refuse('etcd_api', '"v3"')
  // A standby waits for the lock as long as it takes, and each call is tried at every endpoint.
  section.ignore('lock_timeout', 'sync', 'discovery_srv_name')
  const endpoints = (option('address', 'ETCD_ADDR') ?? 'http://localhost:2379').split(',').map((text) => text.trim())
  const secure = endpoints.every((text) => isEndpoint(text, 'https:'))
  if (!secure && !endpoints.every((text) => isEndpoint(text, 'http:'))) {
    section.refuse('address', 'URLs like http://host:2379, with commas between, all http or all https')
  }
  const prefix = section.string('path') ?? '/lockstep/'
  if (!/[^/]/.test(prefix) || Buffer.byteLength(prefix) > 255) section.refuse('path', 'a prefix of at most 255 bytes')
  const [username, password] = [option('username', 'ETCD_USERNAME'), option('password', 'ETCD_PASSWORD')]
  if ((username === undefined) !== (password === undefined)) section.refuse('username', 'given together with password')
  const files = {
    caFile: section.string('tls_ca_file') || undefined,
    certFile: section.string('tls_cert_file') || undefined,
    keyFile: section.string('tls_key_file') || undefined,
  }
  if ((files.certFile === undefined) !== (files.keyFile === undefined)) {
    section.refuse('tls_cert_file', 'given together with tls_key_file')
  }
  if (!secure && (files.caFile ?? files.certFile))
    section.refuse('address', 'https when tls_ca_file or tls_cert_file is set')
  const requestTimeoutMs = section.duration('request_timeout') ?? 5000
  if (requestTimeoutMs < 100) section.refuse('request_timeout', 'at least "100ms"')
  const lockTtlMs = section.duration('lock_ttl') ?? 2000
  if (lockTtlMs < 1000 || lockTtlMs > 60_000) section.refuse('lock_ttl', 'from "1s" to "60s"')
  const maxRequestBytes = section.size('max_request_size') ?? 1.5 * 1024 * 1024
  if (maxRequestBytes < LEAST_REQUEST_BYTES) section.refuse('max_request_size', 'at least "256kib"')
  const haFromEnvironment = environment.ETCD_HA_ENABLED ? parseBool(environment.ETCD_HA_ENABLED) : undefined
  return {
    type: 'etcd',
    endpoints,
    prefix,
    auth: username === undefined ? undefined : { username, password: password! },
    tls: secure ? files : undefined,
    requestTimeoutMs,
    lockTtlMs,
    maxRequestBytes,
    haEnabled: haFromEnvironment ?? section.boolean('ha_enabled') ?? false,
  }
}

function isEndpoint(text: string, protocol: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined
  return (
    url?.protocol === protocol &&
    url.hostname !== '' &&
    url.username === '' &&
    url.pathname === '/' &&
    url.search === ''
  )
}
