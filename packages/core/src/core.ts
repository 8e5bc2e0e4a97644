/**
 * One node of a cluster, over a storage: the composition of all modules of this package. What the HTTP layer needs without a
 * token (init, unseal, health, generate-root) has a method of its own, everything else goes through `handle`.
 */
import type { AutoSeal } from '@lockstep/seal'
import type { LeaderLock, Store } from '@lockstep/storage'
import { type ClusterIdentity, clusterIdentity } from './cluster-identity.ts'
import { CoreError, type CoreRequest, type CoreResponse } from './contracts.ts'
import { operationTokens } from './replication/operation-token.ts'
import { roleRecords } from './replication/role-records.ts'
import type { Roles } from './replication/roles.ts'
import { type GenerateAction, type GenerateRoot, generateRoot } from './seal-life-cycle/generate-root.ts'
import { openGenerations } from './seal-life-cycle/generations.ts'
import { parseInitialize, shareTexts } from './seal-life-cycle/initialize.ts'
import { type LifeCycle, lifeCycle } from './seal-life-cycle/life-cycle.ts'
import type { Services, Unsealed } from './seal-life-cycle/services.ts'
import type { ServiceComponents, ServiceOptions } from './services/components.ts'
import { drServices } from './services/dr-services.ts'
import { fullServices } from './services/full-services.ts'

export interface CoreComponents extends Omit<ServiceComponents, 'lifeCycle'> {
  /** The whole physical store; closed by whoever opened it. */
  physical: Store
  autoSeal?: AutoSeal
  lock?: LeaderLock
}

export interface CoreOptions extends ServiceOptions {
  /** `level`, `postgresql`, `inmem`: what seal-status reports. */
  storageType: string
  /** "" = generated. */
  clusterName: string
  /** Cap of the retained write-ahead log, bytes. */
  logBytes?: number
}

export type HealthState = 'uninitialized' | 'sealed' | 'dr-secondary' | 'performance-standby' | 'standby' | 'active'

export interface Core {
  handle(request: CoreRequest): Promise<CoreResponse>
  initialized(): Promise<boolean>
  initialize(params: Record<string, unknown>): Promise<Record<string, unknown>>
  sealStatus(): Promise<Record<string, unknown>>
  unseal(params: Record<string, unknown>): Promise<Record<string, unknown>>
  generateRoot(
    kind: 'root' | 'dr-operation',
    action: GenerateAction,
    params: Record<string, unknown>,
  ): Promise<Record<string, unknown> | undefined>
  health(): Promise<{ state: HealthState; body: Record<string, unknown> }>
  leader(): Promise<Record<string, unknown>>
  /** For `server -dev`: a root token with this id (or a generated one). */
  createRootToken(id?: string): Promise<string>
  reload(): Promise<void>
  close(): Promise<void>
}

/** `hvs.` and `hvr.` tokens of this many characters. */
const TOKEN_LENGTH = 28

export async function createCore(components: CoreComponents, options: CoreOptions): Promise<Core> {
  const { log, clock, autoSeal, lock, physical } = components
  let identity: ClusterIdentity | undefined
  let roles: Roles | undefined

  async function startServices(unsealed: Unsealed): Promise<Services> {
    identity = await clusterIdentity(unsealed.barrier, options.clusterName)
    const dr = await roleRecords(unsealed.barrier).role('dr')
    const parts = { ...components, lifeCycle: () => cycle }
    const start = dr.mode === 'secondary' ? drServices : fullServices
    const services = await start(unsealed, parts, options)
    roles = services.roles
    return services
  }

  const generations = await openGenerations(physical, log)
  const cycle: LifeCycle = await lifeCycle(
    { generations, autoSeal, lock, log, startServices },
    { address: options.apiAddress, logBytes: options.logBytes },
  )
  try {
    await cycle.autoUnseal()
  } catch (error) {
    await cycle.close()
    throw error
  }

  function active(): Unsealed {
    const unsealed = cycle.unsealed()
    if (unsealed === undefined) throw new CoreError('CORE_SEALED', 'Vault is sealed')
    return unsealed
  }

  const operatorKey = () => active().operatorKey()
  const generators: Record<'root' | 'dr-operation', GenerateRoot> = {
    root: generateRoot({
      operatorKey,
      tokenLength: TOKEN_LENGTH,
      resultField: 'encoded_root_token',
      async issue() {
        const make = cycle.services()?.createRootToken
        if (make === undefined)
          throw new CoreError('CORE_INVALID_REQUEST', 'path disabled in replication DR secondary mode')
        return make()
      },
    }),
    'dr-operation': generateRoot({
      operatorKey,
      tokenLength: TOKEN_LENGTH,
      resultField: undefined,
      issue: () => operationTokens(active().barrier).issue(),
    }),
  }

  async function sealStatus(): Promise<Record<string, unknown>> {
    const config = await cycle.sealConfig()
    const recovery = config === undefined || config.type === 'shamir' ? undefined : await cycle.recoveryConfig()
    const counts = recovery ?? config
    const sealed = cycle.state() === 'sealed'
    return {
      type: config?.type ?? autoSeal?.type ?? 'shamir',
      initialized: config !== undefined,
      sealed,
      t: counts?.secret_threshold ?? 0,
      n: counts?.secret_shares ?? 0,
      ...cycle.progress(),
      version: options.version,
      build_date: options.buildDate,
      migration: false,
      ...(sealed || identity === undefined ? {} : { cluster_name: identity.name, cluster_id: identity.id }),
      recovery_seal: autoSeal !== undefined,
      ...(recovery === undefined ? {} : { recovery_seal_type: recovery.type }),
      storage_type: options.storageType,
    }
  }

  function healthState(initialized: boolean): HealthState {
    if (!initialized) return 'uninitialized'
    if (cycle.state() === 'sealed') return 'sealed'
    if (cycle.store().modes.dr === 'secondary') return 'dr-secondary'
    return cycle.state() === 'standby' ? 'standby' : 'active'
  }

  return {
    handle: cycle.handle,
    initialized: async () => (await cycle.sealConfig()) !== undefined,
    async initialize(params) {
      if ((await cycle.sealConfig()) !== undefined)
        throw new CoreError('CORE_INVALID_REQUEST', 'Vault is already initialized')
      const { parts, rootToken } = await cycle.initialize(parseInitialize(params, autoSeal !== undefined))
      const { hex, base64 } = shareTexts(parts)
      log.info('cluster initialized', { shares: parts.length })
      if (autoSeal === undefined) return { keys: hex, keys_base64: base64, root_token: rootToken }
      return { keys: [], keys_base64: [], recovery_keys: hex, recovery_keys_base64: base64, root_token: rootToken }
    },
    sealStatus,
    async unseal(params) {
      await cycle.unseal(params)
      return sealStatus()
    },
    generateRoot(kind, action, params) {
      const secondary = cycle.store().modes.dr === 'secondary'
      if (kind === 'dr-operation' && !secondary) throw new CoreError('CORE_INVALID_REQUEST', 'Not a DR secondary.')
      if (kind === 'root' && secondary) {
        throw new CoreError('CORE_INVALID_REQUEST', 'path disabled in replication DR secondary mode')
      }
      return generators[kind].run(action, params)
    },
    async health() {
      const initialized = (await cycle.sealConfig()) !== undefined
      const state = healthState(initialized)
      const sealed = cycle.state() === 'sealed'
      const lastWal = cycle.state() === 'active' ? (roles?.lastWal() ?? 0) : 0
      return {
        state,
        body: {
          initialized,
          sealed,
          standby: state !== 'active' && state !== 'dr-secondary',
          performance_standby: false,
          replication_performance_mode: sealed ? 'unknown' : cycle.store().modes.performance,
          replication_dr_mode: sealed ? 'unknown' : cycle.store().modes.dr,
          server_time_utc: Math.floor(clock.now() / 1000),
          version: options.version,
          enterprise: true,
          ...(sealed || identity === undefined ? {} : { cluster_name: identity.name, cluster_id: identity.id }),
          ...(lastWal === 0 ? {} : { last_wal: lastWal }),
          echo_duration_ms: 0,
          clock_skew_ms: 0,
          replication_primary_canary_age_ms: 0,
        },
      }
    },
    async leader() {
      if (cycle.state() === 'sealed') throw new CoreError('CORE_SEALED', 'Vault is sealed')
      const self = cycle.state() === 'active'
      const leaderAddress = self ? options.apiAddress : ((await lock?.holder()) ?? '')
      return {
        ha_enabled: lock !== undefined,
        is_self: self,
        active_time: self ? new Date(cycle.activeSince()).toISOString() : '0001-01-01T00:00:00Z',
        leader_address: leaderAddress,
        leader_cluster_address: self ? options.clusterAddress : '',
        performance_standby: false,
        performance_standby_last_remote_wal: 0,
        ...(self ? { last_wal: roles?.lastWal() ?? 0 } : {}),
      }
    },
    async createRootToken(id) {
      const make = cycle.services()?.createRootToken
      if (make === undefined) throw new CoreError('CORE_SEALED', 'Vault is sealed')
      return make(id)
    },
    async reload() {
      await cycle.services()?.reopenLogs?.()
    },
    close: () => cycle.close(),
  }
}
