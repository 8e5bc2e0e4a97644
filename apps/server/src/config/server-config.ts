/** The server's configuration after reading: checked, with defaults, in milliseconds and bytes. */
import type { VersionRange } from '@lockstep/replication'
import type { ForwardedForOptions } from '../http/forwarded-for.ts'
import type { StatusHeaders } from '../http/reply.ts'

export type StorageConfig =
  | { type: 'level'; path: string }
  | { type: 'inmem' }
  | { type: 'postgresql'; connectionUrl: string; table: string; maxParallel: number; haEnabled: boolean }
  | EtcdStorageConfig

export interface EtcdStorageConfig {
  type: 'etcd'
  /** URLs. */
  endpoints: string[]
  prefix: string
  auth: { username: string; password: string } | undefined
  /** With https. */
  tls: { caFile: string | undefined; certFile: string | undefined; keyFile: string | undefined } | undefined
  requestTimeoutMs: number
  lockTtlMs: number
  maxRequestBytes: number
  haEnabled: boolean
}

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
  /** `sys/metrics` needs no token on this listener. */
  unauthenticatedMetrics: boolean
  forwardedFor: ForwardedForOptions
  customHeaders: StatusHeaders
}

/** Secrets stay references (`file://`, `env://`) or literals here; they are resolved when the seal is built. */
export interface StaticSealConfig {
  type: 'static'
  /** For status and metrics. */
  name: string
  currentKeyId: string
  currentKey: string
  previousKeyId: string | undefined
  previousKey: string | undefined
}

export interface TransitSealConfig {
  type: 'transit'
  name: string
  /** URL of the server that has the key. */
  address: string
  token: string
  keyName: string
  mountPath: string
  /** "" = the root namespace. */
  namespace: string
  disableRenewal: boolean
  tls: {
    caCertFile: string | undefined
    clientCertFile: string | undefined
    clientKeyFile: string | undefined
    serverName: string | undefined
    skipVerify: boolean
  }
}

export interface Pkcs11SealConfig {
  type: 'pkcs11'
  name: string
  /** Path of the PKCS#11 library. */
  lib: string
  /** One of the two, or both. */
  slot: bigint | undefined
  tokenLabel: string | undefined
  pin: string
  /** One of the two, or both; the id in hexadecimal. */
  keyLabel: string | undefined
  keyId: string | undefined
  /** Makes the key at initialization when there is none. */
  generateKey: boolean
}

export type AutoSealConfig = StaticSealConfig | TransitSealConfig | Pkcs11SealConfig

export interface ReplicationConfig {
  resolverDiscoverServers: boolean
  /** Records of the log kept for secondaries; undefined = no cap in records. */
  logshipperBufferLength: number | undefined
  /** The same in bytes; undefined = the default. */
  logshipperBufferSize: number | undefined
  /** Age at which a record of it is given up, ms. */
  logshipperBufferAge: number
  allowForwardingViaHeader: boolean
  bestEffortWalWaitDuration: number
  allowForwardingViaToken: '' | 'new_token'
  /** Between two comparisons of the Merkle index with the data, ms; 0 = none. */
  scrubInterval: number
}

/** Vault 2's names; of rekey there is nothing yet to protect. */
export const UNAUTHENTICATED_GROUPS = ['generate-operation-token', 'generate-root', 'rekey'] as const
export type UnauthenticatedGroup = (typeof UNAUTHENTICATED_GROUPS)[number]

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
  seal: AutoSealConfig | undefined
  /** The stanza with `disabled = "true"`: what a storage is to be migrated away from. */
  disabledSeal: AutoSealConfig | undefined
  /** URL clients reach this node at; goes into activation tokens. */
  apiAddr: string
  /** URL other clusters and nodes reach the cluster listener at. */
  clusterAddr: string
  /** No request is forwarded between the nodes of this cluster: standbys redirect. */
  disableClustering: boolean
  clusterName: string
  replication: ReplicationConfig
  /** Protocol versions to speak with other clusters; undefined = all that this build has. */
  replicationProtocol?: VersionRange | undefined
  logLevel: LogLevel
  logFormat: LogFormat
  defaultLeaseTtl: number
  maxLeaseTtl: number
  pidFile: string | undefined
  /** Where a snapshot is kept while it is sent; undefined = the system's directory for temporary files. */
  snapshotDirectory?: string | undefined
  /** Most bytes of a snapshot before compression; undefined = core's default. */
  maxSnapshotSize?: number | undefined
  /** Endpoint groups that need no token although newer Vault versions ask for one; undefined = all of them. */
  enableUnauthenticatedAccess: UnauthenticatedGroup[] | undefined
  dev: DevConfig | undefined
}
