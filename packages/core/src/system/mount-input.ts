import { BackendError, type Field, field, parseDuration } from '@lockstep/backend'
import type { MountEntry } from '../contracts.ts'

export type MountConfig = Partial<MountEntry['config']>

const visibilities = new Set(['', 'unauth', 'hidden'])
const tokenTypes = new Set(['', 'default-service', 'default-batch', 'service', 'batch'])

const lists = [
  'passthrough_request_headers',
  'allowed_response_headers',
  'audit_non_hmac_request_keys',
  'audit_non_hmac_response_keys',
] as const

/** The `config` of an enable request. @throws BackendError with Vault's wording. */
export function enableConfig(raw: Record<string, unknown>, table: 'secret' | 'auth'): MountConfig {
  const config = commonConfig(raw, table)
  const ttl = duration(raw.default_lease_ttl, (text, why) => `unable to parse default TTL of ${text}: ${why}`)
  const max = duration(raw.max_lease_ttl, (text, why) => `unable to parse max TTL of ${text}: ${why}`)
  if (ttl !== undefined) config.default_lease_ttl = ttl
  if (max !== undefined) config.max_lease_ttl = max
  if (raw.force_no_cache !== undefined) config.force_no_cache = converted('force_no_cache', field.bool(), raw) ?? false
  return config
}

/** A tune request. TTL `system` means the system's default. */
export function tuneConfig(raw: Record<string, unknown>, table: 'secret' | 'auth', type: string): MountConfig {
  if (raw.token_type !== undefined && table === 'secret') {
    throw refused("'token_type' can only be modified on auth mounts")
  }
  if (raw.token_type !== undefined && type === 'token') {
    throw refused("'token_type' cannot be set for 'token' or 'ns_token' auth mounts")
  }
  const config = commonConfig(raw, table)
  for (const name of ['default_lease_ttl', 'max_lease_ttl'] as const) {
    const value = raw[name] === 'system' ? 0 : duration(raw[name], (_, why) => why)
    if (value !== undefined) config[name] = value
  }
  return config
}

function commonConfig(raw: Record<string, unknown>, table: 'secret' | 'auth'): MountConfig {
  const config: MountConfig = {}
  if (raw.listing_visibility !== undefined) {
    const visibility = String(raw.listing_visibility)
    if (!visibilities.has(visibility)) throw refused(`invalid listing_visibility ${visibility}`)
    config.listing_visibility = visibility
  }
  if (table === 'auth' && raw.token_type !== undefined) {
    const type = String(raw.token_type)
    if (!tokenTypes.has(type)) throw refused("invalid value for 'token_type'")
    config.token_type = type === '' ? 'default-service' : type
  }
  for (const name of lists) {
    if (raw[name] !== undefined) config[name] = converted(name, field.commaStringList(), raw) ?? []
  }
  return config
}

/** Seconds; undefined when absent or empty. */
function duration(raw: unknown, problem: (text: string, why: string) => string): number | undefined {
  if (raw === undefined || raw === null || raw === '') return undefined
  const text = String(raw)
  let seconds: number
  try {
    seconds = parseDuration(text)
  } catch (error) {
    throw refused(problem(text, (error as Error).message))
  }
  if (seconds < 0) throw refused(problem(text, 'a TTL cannot be negative'))
  return seconds
}

/** Reads one field outside a declared path, for values inside a nested object. */
export function converted<T>(name: string, definition: Field<T>, raw: Record<string, unknown>): T | undefined {
  try {
    return definition.convert(raw[name]) as T | undefined
  } catch (error) {
    throw refused(`error converting input for field ${JSON.stringify(name)}: ${(error as Error).message}`)
  }
}

export function refused(message: string): BackendError {
  return new BackendError('BACKEND_INVALID_REQUEST', message)
}
