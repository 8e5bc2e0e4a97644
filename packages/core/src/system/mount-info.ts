import type { MountEntry } from '../contracts.ts'

const builtinTypes = new Set(['system', 'cubbyhole', 'token'])

/** A mount as sys/mounts and sys/auth list it. */
export function mountInfo(entry: MountEntry, version: string): Record<string, unknown> {
  const builtin = builtinTypes.has(entry.type)
  return {
    accessor: entry.accessor,
    config: configInfo(entry),
    ...(builtin ? undefined : { deprecation_status: 'supported' }),
    description: entry.description,
    external_entropy_access: false,
    local: entry.local,
    options: builtin ? null : entry.options,
    plugin_version: '',
    running_plugin_version: builtinVersion(version),
    running_sha256: '',
    seal_wrap: entry.sealWrap,
    type: entry.type,
    uuid: entry.uuid,
  }
}

export function builtinVersion(version: string): string {
  return `v${version}+builtin.vault`
}

const optionalConfig = [
  'listing_visibility',
  'passthrough_request_headers',
  'allowed_response_headers',
  'audit_non_hmac_request_keys',
  'audit_non_hmac_response_keys',
] as const

function configInfo(entry: MountEntry): Record<string, unknown> {
  const { config } = entry
  return {
    default_lease_ttl: config.default_lease_ttl,
    force_no_cache: config.force_no_cache,
    max_lease_ttl: config.max_lease_ttl,
    ...(entry.table === 'auth' ? { token_type: config.token_type ?? 'default-service' } : undefined),
    ...setValues(config),
  }
}

/** What GET of `<mount>/tune` shows: TTLs resolved, seconds. */
export function tuneInfo(entry: MountEntry, ttl: { default: number; max: number }): Record<string, unknown> {
  return {
    default_lease_ttl: ttl.default,
    description: entry.description,
    force_no_cache: entry.config.force_no_cache,
    max_lease_ttl: ttl.max,
    ...(entry.table === 'auth' ? { token_type: entry.config.token_type ?? 'default-service' } : undefined),
    ...(Object.keys(entry.options).length > 0 ? { options: entry.options } : undefined),
    ...setValues(entry.config),
  }
}

function setValues(config: MountEntry['config']): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  for (const name of optionalConfig) {
    const value = config[name]
    if (value !== undefined && value.length > 0) values[name] = value
  }
  return values
}
