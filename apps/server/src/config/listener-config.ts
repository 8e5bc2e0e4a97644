import { addressList } from '../http/forwarded-for.ts'
import { DEFAULT_MAX_REQUEST_SIZE } from '../http/json-body.ts'
import type { StatusHeaders } from '../http/reply.ts'
import { formatAddress, parseAddress } from './address.ts'
import { ConfigError } from './config-error.ts'
import { type Section, section } from './section.ts'
import type { ListenerConfig, TlsConfig } from './server-config.ts'

const DEFAULT_ADDRESS = '127.0.0.1:8200'
const DEFAULT_MAX_REQUEST_DURATION = 90_000
const TLS_VERSIONS = { tls12: 'TLSv1.2', tls13: 'TLSv1.3' } as const

export function readListeners(roots: readonly Section[]): ListenerConfig[] {
  return roots.flatMap((root) =>
    root.labelled('listener').map(({ label, section }) => {
      if (label !== 'tcp') throw new ConfigError(`${section.where}: unknown listener type; it must be 'tcp'`)
      return readListener(section)
    }),
  )
}

/** The plain listener of dev mode. */
export function devListener(address: string): ListenerConfig {
  return readListener(section({ address, tls_disable: true }, '-dev-listen-address'))
}

function readListener(section: Section): ListenerConfig {
  const address = parseAddress(section.string('address') ?? DEFAULT_ADDRESS)
  if (address === undefined) section.refuse('address', '"host:port"')
  const clusterText = section.string('cluster_address')
  const cluster = clusterText === undefined ? { ...address!, port: address!.port + 1 } : parseAddress(clusterText)
  if (cluster === undefined) section.refuse('cluster_address', '"host:port"')
  const maxRequestSize = section.size('max_request_size') ?? DEFAULT_MAX_REQUEST_SIZE
  section.ignore('purpose', 'tls_disable_client_certs', 'tls_prefer_server_cipher_suites')
  return {
    address: formatAddress(address!),
    clusterAddress: formatAddress(cluster!),
    tls: readTls(section),
    // Vault: 0 or less is the default, not "no limit".
    maxRequestSize: maxRequestSize > 0 ? maxRequestSize : DEFAULT_MAX_REQUEST_SIZE,
    maxRequestDuration: section.duration('max_request_duration') || DEFAULT_MAX_REQUEST_DURATION,
    requireRequestHeader: section.boolean('require_request_header') ?? false,
    disableReplicationStatus: section.boolean('disable_replication_status_endpoints') ?? false,
    unauthenticatedMetrics: section
      .sections('telemetry')
      .some((telemetry) => telemetry.boolean('unauthenticated_metrics_access') === true),
    forwardedFor: {
      authorizedAddrs: readAddresses(section),
      hopSkips: readHopSkips(section),
      rejectNotPresent: section.boolean('x_forwarded_for_reject_not_present') ?? true,
      rejectNotAuthorized: section.boolean('x_forwarded_for_reject_not_authorized') ?? true,
    },
    customHeaders: readCustomHeaders(section),
  }
}

function readTls(section: Section): TlsConfig | undefined {
  const disabled = section.boolean('tls_disable') ?? false
  const certFile = section.string('tls_cert_file')
  const keyFile = section.string('tls_key_file')
  const clientCaFile = section.string('tls_client_ca_file')
  const version = section.string('tls_min_version') ?? 'tls12'
  const requireClientCert = section.boolean('tls_require_and_verify_client_cert') ?? false
  if (disabled) return undefined
  if (!certFile) section.refuse('tls_cert_file', 'a certificate file, unless tls_disable = true')
  if (!keyFile) section.refuse('tls_key_file', 'a key file, unless tls_disable = true')
  if (!Object.hasOwn(TLS_VERSIONS, version)) section.refuse('tls_min_version', '"tls12" or "tls13"')
  const minVersion = TLS_VERSIONS[version as keyof typeof TLS_VERSIONS]
  return { certFile: certFile!, keyFile: keyFile!, clientCaFile, minVersion, requireClientCert }
}

function readAddresses(section: Section): string[] {
  const ranges = section.strings('x_forwarded_for_authorized_addrs') ?? []
  try {
    addressList(ranges)
  } catch {
    section.refuse('x_forwarded_for_authorized_addrs', 'a list of IP addresses or CIDR ranges')
  }
  return ranges
}

function readHopSkips(section: Section): number {
  const skips = section.integer('x_forwarded_for_hop_skips') ?? 0
  if (skips < 0) section.refuse('x_forwarded_for_hop_skips', '0 or more')
  return skips
}

/** `custom_response_headers { "default" = { "X-Name" = ["value"] } "4xx" = { ... } }`. */
function readCustomHeaders(section: Section): StatusHeaders {
  const headers: Record<string, Record<string, string>> = {}
  for (const block of section.sections('custom_response_headers')) {
    for (const [status, value] of block.entries()) {
      if (!/^(?:default|[1-5]xx|[1-5]\d\d)$/.test(status)) {
        throw new ConfigError(
          `${block.where}: "${status}" must be "default", a status class such as "4xx", or a status`,
        )
      }
      const group: Record<string, string> = { ...headers[status] }
      for (const members of Array.isArray(value) ? value : [value]) {
        for (const [name, text] of Object.entries((members ?? {}) as Record<string, unknown>)) {
          group[headerName(block, name)] = headerValue(block, name, text)
        }
      }
      headers[status] = group
    }
  }
  return headers
}

function headerName(block: Section, name: string): string {
  if (!/^[A-Za-z0-9-]+$/.test(name))
    throw new ConfigError(`${block.where}: a header name holds letters, digits and '-'`)
  if (/^(?:x-vault-|content-length$|transfer-encoding$|connection$)/i.test(name)) {
    throw new ConfigError(`${block.where}: the header ${name} is the server's own`)
  }
  return name
}

function headerValue(block: Section, name: string, value: unknown): string {
  const list = Array.isArray(value) ? value : [value]
  if (list.length === 0 || !list.every((text) => typeof text === 'string' && /^[\t\x20-\x7e]*$/.test(text))) {
    throw new ConfigError(`${block.where}: ${name} must be a list of strings`)
  }
  return list.join(name.toLowerCase() === 'strict-transport-security' ? '; ' : ', ')
}
