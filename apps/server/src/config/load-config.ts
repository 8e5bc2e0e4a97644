/** Files, directories and environment to one checked `ServerConfig`. Flags are applied by the command line on top. */
import { hostname } from 'node:os'
import { dialableHost, formatAddress, parseAddress } from './address.ts'
import { ConfigError } from './config-error.ts'
import { type Environment, environmentValue } from './environment.ts'
import { readSections } from './files.ts'
import { readListeners } from './listener-config.ts'
import { parseLogFormat, parseLogLevel } from './log-config.ts'
import { readReplication } from './replication-config.ts'
import { readReplicationProtocol } from './replication-protocol.ts'
import { readSeals } from './seal-config.ts'
import type { Section } from './section.ts'
import {
  type ListenerConfig,
  type ServerConfig,
  type StorageConfig,
  UNAUTHENTICATED_GROUPS,
  type UnauthenticatedGroup,
} from './server-config.ts'
import { readStorage } from './storage-config.ts'

export interface LoadedConfig {
  config: ServerConfig
  /** Things ignored, to be logged once logging works. */
  warnings: string[]
}

const HOUR = 3_600_000
/** Vault's keys that have no meaning here and change nothing when left out. */
const ACCEPTED = ['disable_mlock', 'disable_cache', 'cache_size', 'disable_printable_check']
const UNSUPPORTED = ['ha_storage', 'ha_backend', 'service_registration', 'plugin_directory', 'entropy']

/** `paths` are files or directories; with none, only defaults and environment count, and `storage` must be given. */
export async function loadConfig(
  paths: readonly string[],
  environment: Environment,
  defaults: { storage?: StorageConfig; listener?: ListenerConfig } = {},
): Promise<LoadedConfig> {
  const roots = await readSections(paths)
  const warnings: string[] = []
  const warn = (message: string) => warnings.push(message)

  const storageGiven = roots.some((root) => root.has('storage') || root.has('backend'))
  const storage = defaults.storage !== undefined && !storageGiven ? defaults.storage : readStorage(roots, environment)
  const listeners = readListeners(roots)
  if (listeners.length === 0 && defaults.listener !== undefined) listeners.push(defaults.listener)
  if (listeners.length === 0) throw new ConfigError('no listener is configured: add listener "tcp" { address = "..." }')

  const last = lastOf(roots)
  const level = environmentValue(environment, 'LOG_LEVEL')
  const format = environmentValue(environment, 'LOG_FORMAT')
  const configuredLevel = last((root) => root.string('log_level'))
  const configuredFormat = last((root) => root.string('log_format'))
  const apiAddr = url(
    environmentValue(environment, 'API_ADDR') ?? last((root) => root.string('api_addr'))?.value,
    'api_addr',
  )
  const clusterAddr = url(
    environmentValue(environment, 'CLUSTER_ADDR') ?? last((root) => root.string('cluster_addr'))?.value,
    'cluster_addr',
  )
  const defaultLeaseTtl = last((root) => root.duration('default_lease_ttl'))?.value ?? 768 * HOUR
  const maxLeaseTtl = last((root) => root.duration('max_lease_ttl'))?.value ?? 768 * HOUR
  if (defaultLeaseTtl > maxLeaseTtl) throw new ConfigError('default_lease_ttl must not exceed max_lease_ttl')
  const config: ServerConfig = {
    storage,
    listeners,
    ...readSeals(roots, environment),
    apiAddr: apiAddr ?? defaultApiAddr(listeners[0]!),
    clusterAddr: clusterAddr ?? '',
    disableClustering: last((root) => root.boolean('disable_clustering'))?.value ?? false,
    clusterName: last((root) => root.string('cluster_name'))?.value ?? '',
    replication: readReplication(roots),
    replicationProtocol: readReplicationProtocol(environment, warn),
    logLevel: level
      ? parseLogLevel(level, 'VAULT_LOG_LEVEL')
      : parseLogLevel(configuredLevel?.value ?? 'info', `${configuredLevel?.where}: log_level`),
    logFormat: format
      ? parseLogFormat(format, 'VAULT_LOG_FORMAT')
      : parseLogFormat(configuredFormat?.value ?? 'standard', `${configuredFormat?.where}: log_format`),
    defaultLeaseTtl,
    maxLeaseTtl,
    snapshotDirectory: last((root) => root.string('snapshot_directory'))?.value || undefined,
    maxSnapshotSize: last((root) => root.size('max_snapshot_size'))?.value,
    pidFile: last((root) => root.string('pid_file'))?.value || undefined,
    enableUnauthenticatedAccess: last(readUnauthenticated)?.value,
    dev: undefined,
  }
  config.clusterAddr ||= defaultClusterAddr(config)
  reportIgnored(roots, warn)
  return { config, warnings }
}

function readUnauthenticated(root: Section): UnauthenticatedGroup[] | undefined {
  const key = 'enable_unauthenticated_access'
  const groups = root.strings(key)
  const known: readonly string[] = UNAUTHENTICATED_GROUPS
  if (groups?.some((group) => !known.includes(group))) {
    root.refuse(key, `a list of ${UNAUTHENTICATED_GROUPS.map((group) => `"${group}"`).join(', ')}`)
  }
  return groups as UnauthenticatedGroup[] | undefined
}

/** The value from the last file that has one, and that file's name. */
function lastOf(roots: readonly Section[]) {
  return <T>(read: (root: Section) => T | undefined): { value: T; where: string } | undefined => {
    let found: { value: T; where: string } | undefined
    for (const root of roots) {
      const value = read(root)
      if (value !== undefined) found = { value, where: root.where }
    }
    return found
  }
}

function reportIgnored(roots: readonly Section[], warn: (message: string) => void): void {
  for (const root of roots) {
    root.ignore(...ACCEPTED)
    for (const key of UNSUPPORTED) {
      if (!root.has(key)) continue
      root.ignore(key)
      warn(`${root.where}: ${key} is not supported and is ignored`)
    }
    if (root.has('telemetry')) {
      root.ignore('telemetry')
      warn(`${root.where}: the keys of telemetry have no effect; sys/metrics is always there`)
    }
    if (root.boolean('ui') === true) warn(`${root.where}: ui = true is accepted, but this build has no web interface`)
    if (root.boolean('raw_storage_endpoint') === true) {
      warn(`${root.where}: raw_storage_endpoint is not supported and is ignored`)
    }
    for (const { where, key } of root.unknown()) warn(`${where}: unknown key ${key} is ignored`)
  }
}

function url(text: string | undefined, name: string): string | undefined {
  if (text === undefined || text === '') return undefined
  try {
    const parsed = new URL(text)
    if ((parsed.protocol === 'http:' || parsed.protocol === 'https:') && parsed.hostname !== '') {
      return text.replace(/\/+$/, '')
    }
  } catch {
    // Reported below.
  }
  throw new ConfigError(`${name} must be a URL such as "https://${hostname()}:8200"`)
}

function defaultApiAddr({ address, tls }: ListenerConfig): string {
  const { host, port } = parseAddress(address)!
  return `${tls ? 'https' : 'http'}://${formatAddress({ host: dialableHost(host), port })}`
}

/** The API host with the cluster listener's port. */
function defaultClusterAddr({ apiAddr, listeners }: ServerConfig): string {
  const { port } = parseAddress(listeners[0]!.clusterAddress)!
  return `https://${new URL(apiAddr).hostname}:${port}`
}
