/** The server's configuration after reading: checked, with defaults, in milliseconds and bytes. */
import type { ForwardedForOptions } from '../http/forwarded-for.ts'
import type { StatusHeaders } from '../http/reply.ts'

export type StorageConfig =
  | { type: 'level'; path: string }
  | { type: 'inmem' }
  | { type: 'postgresql'; connectionUrl: string; table: string; maxParallel: number; haEnabled: boolean }

export interface TlsConfig {
  certFile: string
  keyFile: string
  clientCaFile: string | undefined
  minVersion: 'TLSv1.2' | 'TLSv1.3'
  requireClientCert: boolean
}

export interface ListenerConfig {
  /** `host:port`. */
  address: string
  /** `host:port` for cluster traffic; default the API port plus one. */
  clusterAddress: string
  /** Undefined with `tls_disable`. */
  tls: TlsConfig | undefined
  maxRequestSize: number
  maxRequestDuration: number
  requireRequestHeader: boolean
  disableReplicationStatus: boolean
  forwardedFor: ForwardedForOptions
  customHeaders: StatusHeaders
}

/** Keys stay references (`file://`, `env://`) or literals here; they are resolved when the seal is built. */
export interface StaticSealConfig {
  type: 'static'
  currentKeyId: string
  currentKey: string
  previousKeyId: string | undefined
  previousKey: string | undefined
}

export interface ReplicationConfig {
  resolverDiscoverServers: boolean
  logshipperBufferLength: number
  /** Bytes; undefined = the default share of the host's memory. */
  logshipperBufferSize: number | undefined
  allowForwardingViaHeader: boolean
  bestEffortWalWaitDuration: number
  allowForwardingViaToken: '' | 'new_token'
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'
export type LogFormat = 'standard' | 'json'

export interface DevConfig {
  /** "" = generate one. */
  rootTokenId: string
  /** Write the root token to ~/.vault-token. */
  storeToken: boolean
}

export interface ServerConfig {
  storage: StorageConfig
  listeners: ListenerConfig[]
  /** Undefined = Shamir shares. */
  seal: StaticSealConfig | undefined
  /** URL clients reach this node at; goes into activation tokens. */
  apiAddr: string
  /** URL other clusters and nodes reach the cluster listener at. */
  clusterAddr: string
  clusterName: string
  replication: ReplicationConfig
  logLevel: LogLevel
  logFormat: LogFormat
  defaultLeaseTtl: number
  maxLeaseTtl: number
  pidFile: string | undefined
  /** Endpoint groups that need no token although newer Vault versions ask for one. */
  enableUnauthenticatedAccess: string[]
  dev: DevConfig | undefined
}
