/** The JSON of one audit line, in the form of Vault's (time, type, auth, request, response, error; empties left out). */
import type { AuditRecord, CoreResponse } from '../contracts.ts'
import type { DeviceOptions } from './device-options.ts'
import { type Redaction, unredacted } from './redaction.ts'

/** What is logged as it is although strings are hashed otherwise. */
export interface ClearFields {
  /** Keys of request and response data that the mount says are not secret (`audit_non_hmac_*_keys`). */
  nonHmacKeys?(mountAccessor: string): { request: readonly string[]; response: readonly string[] }
  /** Request headers to log, lower-case, and whether to hash them. Default none. */
  auditedHeaders?(): ReadonlyMap<string, { hmac: boolean }>
}

type Json = Record<string, unknown>
type Options = Pick<DeviceOptions, 'logRaw' | 'hmacAccessor' | 'elideListResponses'>

export interface EntryFormat {
  format(record: AuditRecord): Json
}

const NAMESPACE = { id: 'root' }
const NONE: readonly string[] = []

export function entryFormat(redaction: Redaction, options: Options, clear: ClearFields): EntryFormat {
  const text = options.logRaw ? (value: string) => value : redaction.hash
  const token = options.logRaw ? (value: string) => value : redaction.hashToken
  const accessor = options.hmacAccessor ? token : (value: string) => value
  const data = options.logRaw ? unredacted : redaction.redact

  function auth(record: AuditRecord): Json | undefined {
    const { token: entry, decision } = record
    const results = decision && {
      allowed: decision.allowed,
      granting_policies: some(decision.grantingPolicies.map((policy) => ({ ...policy, namespace_id: NAMESPACE.id }))),
    }
    if (entry === undefined) return results && { policy_results: results }
    return {
      client_token: filled(entry.id, token),
      accessor: filled(entry.accessor, accessor),
      display_name: filled(entry.displayName),
      policies: entry.policies,
      token_policies: entry.policies,
      policy_results: results,
      metadata: entry.meta ?? undefined,
      entity_id: filled(entry.entityId),
      token_type: entry.type,
      token_ttl: entry.ttl || undefined,
      token_issue_time: rfc3339(entry.creationTime),
    }
  }

  function request({ request, mount, token: entry }: AuditRecord): Json {
    const keys = mount && clear.nonHmacKeys?.(mount.accessor)
    return {
      id: request.id,
      client_id: filled(entry?.entityId ?? ''),
      operation: request.operation,
      ...mountFields(mount),
      client_token: filled(request.clientToken, token),
      client_token_accessor: filled(entry?.accessor ?? '', accessor),
      namespace: NAMESPACE,
      path: request.path,
      data: isEmpty(request.data) ? undefined : data(request.data, keys?.request ?? NONE),
      headers: headers(request.headers),
      remote_address: filled(request.remoteAddress),
      remote_port: request.remotePort || undefined,
      wrap_ttl: request.wrapTtl || undefined,
    }
  }

  function headers(given: Readonly<Record<string, string>>): Json | undefined {
    const audited = clear.auditedHeaders?.()
    if (audited === undefined || audited.size === 0) return undefined
    const out: Json = {}
    for (const [name, { hmac }] of audited) {
      const value = given[name]
      if (value !== undefined) out[name] = [hmac ? text(value) : value]
    }
    return isEmpty(out) ? undefined : out
  }

  function response(given: CoreResponse, { request, mount }: AuditRecord): Json {
    const { envelope, raw, bare, stream } = given
    const keys = (mount && clear.nonHmacKeys?.(mount.accessor).response) ?? NONE
    if (raw !== undefined) {
      const body = typeof raw.body === 'string' ? raw.body : Buffer.from(raw.body).toString('base64')
      const shown = { http_content_type: raw.contentType, http_raw_body: text(body), http_status_code: given.status }
      return { ...mountFields(mount), data: shown }
    }
    if (stream !== undefined) {
      return { ...mountFields(mount), data: { http_content_type: stream.contentType, http_status_code: given.status } }
    }
    const plain = envelope === undefined ? bare : envelope.data
    const elide = options.elideListResponses && request.operation === 'list'
    return {
      auth: envelope?.auth ? responseAuth(envelope.auth) : undefined,
      ...mountFields(mount),
      secret: filled(envelope?.lease_id ?? '') && { lease_id: envelope!.lease_id },
      data: plain == null ? undefined : data(elide ? elided(plain) : plain, keys),
      warnings: some(envelope?.warnings ?? []),
      wrap_info: envelope?.wrap_info ? wrapInfo(envelope.wrap_info) : undefined,
    }
  }

  function responseAuth(given: NonNullable<NonNullable<CoreResponse['envelope']>['auth']>): Json {
    return {
      client_token: filled(given.client_token, token),
      accessor: filled(given.accessor, accessor),
      policies: given.policies,
      token_policies: given.token_policies,
      identity_policies: some(given.identity_policies ?? []),
      metadata: given.metadata ?? undefined,
      entity_id: filled(given.entity_id),
      num_uses: given.num_uses || undefined,
      token_type: given.token_type,
      token_ttl: given.lease_duration || undefined,
    }
  }

  function wrapInfo(given: NonNullable<NonNullable<CoreResponse['envelope']>['wrap_info']>): Json {
    return {
      ttl: given.ttl,
      token: token(given.token),
      accessor: filled(given.accessor, accessor),
      creation_time: given.creation_time,
      creation_path: given.creation_path,
      wrapped_accessor: filled(given.wrapped_accessor ?? '', accessor),
    }
  }

  return {
    format: (record) => ({
      time: rfc3339(record.time),
      type: record.type,
      auth: auth(record),
      request: request(record),
      response: record.response && response(record.response, record),
      error: filled(record.error ?? ''),
    }),
  }
}

function mountFields(mount: AuditRecord['mount']): Json | undefined {
  if (mount === undefined) return undefined
  const { point, type, accessor, class: mountClass } = mount
  return { mount_point: point, mount_type: type, mount_accessor: accessor, mount_class: mountClass }
}

/** Lists as numbers of names. */
function elided(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const { keys, key_info: info } = value as { keys?: unknown; key_info?: unknown }
  const out: Json = { ...value }
  if (Array.isArray(keys)) out.keys = keys.length
  if (typeof info === 'object' && info !== null) out.key_info = Object.keys(info).length
  return out
}

function filled(value: string, show: (value: string) => string = (same) => same): string | undefined {
  return value === '' ? undefined : show(value)
}

function some<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list
}

function isEmpty(value: object): boolean {
  for (const _ in value) return false
  return true
}

function rfc3339(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}
