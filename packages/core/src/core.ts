/**
 * One node of a cluster, over a storage: the composition of all modules of this package. What the HTTP layer needs without a
 * token (init, unseal, health, generate-root) has a method of its own, everything else goes through `handle`.
 */
import { hostname } from 'node:os'
import type { AutoSeal } from '@lockstep/seal'
import type { LeaderLock, Leadership, Store } from '@lockstep/storage'
import { type ClusterIdentity, clusterIdentity, readClusterIdentity } from './cluster-identity.ts'
import { CoreError, type CoreRequest, type CoreResponse } from './contracts.ts'
import { type ClusterNode, clusterNode, type ServeForwarded } from './ha/cluster-node.ts'
import { haStatus } from './ha/ha-status.ts'
import type { ForwardedAnswer, ForwardedRequest } from './ha/http.ts'
import { storedStatus } from './ha/stored-status.ts'
import type { NodeAbout } from './ha/wire.ts'
import { type MetricsSnapshot, meter } from './metrics/meter.ts'
import { nodeMetrics } from './metrics/node-metrics.ts'
import { assertNotMigrating } from './migration/migration-lock.ts'
import { operationTokens } from './replication/consent/operation-token.ts'
import type { ModeWord } from './replication/manager.ts'
import { roleRecords } from './replication/role-records.ts'
import type { Roles } from './replication/roles.ts'
import { type GenerateAction, type GenerateRoot, generateRoot } from './seal-life-cycle/generate-root.ts'
import { parseInitialize } from './seal-life-cycle/initialize.ts'
import { lifeCycle } from './seal-life-cycle/life-cycle.ts'
import type { LifeCycle } from './seal-life-cycle/life-cycle-contract.ts'
import { nodeRegistry } from './seal-life-cycle/node-registry.ts'
import { type NodeSealsOptions, nodeSeals } from './seal-life-cycle/node-seals.ts'
import type { RekeyAction } from './seal-life-cycle/rekey.ts'
import { rekeying } from './seal-life-cycle/rekeying.ts'
import type { Services, Unsealed } from './seal-life-cycle/services.ts'
import type { RekeyTarget } from './seal-life-cycle/share-backup.ts'
import type { ServiceComponents, ServiceOptions } from './services/components.ts'
import { drServices } from './services/dr-services.ts'
import { fullServices } from './services/full-services.ts'

/** What core makes for its services itself. */
type OwnComponents = 'lifeCycle' | 'meter' | 'metrics' | 'nodes' | 'haNodes' | 'rekeying'

export interface CoreComponents extends Omit<ServiceComponents, OwnComponents> {
  /** The whole physical store; closed by whoever opened it. */
  physical: Store
  /** What opens the storage; without one, shares do (Shamir). */
  autoSeal?: AutoSeal
  /** The auto seal that `autoSeal`, or shares, take the place of (configuration: `disabled`): see `unseal` with `migrate`. */
  sealToMigrateFrom?: AutoSeal
  /** For several nodes over one storage: one leads, the others stand by. */
  lock?: LeaderLock
  /** The same store as `physical`, refusing writes once the leadership has ended; closed by core. Default: unfenced. */
  fenced?(leadership: Leadership): Promise<Store>
}

export interface CoreOptions extends ServiceOptions, NodeSealsOptions {
  /** `level`, `postgresql`, `inmem`: what seal-status reports. */
  storageType: string
  /** "" = generated. */
  clusterName: string
  /** Cap of the retained write-ahead log, bytes. */
  logBytes?: number
  /** The same in records. Default: no cap. */
  logRecords?: number
  /** Age at which a record of it is given up, ms. Default 24 hours. */
  logMaxAgeMs?: number
  /** Between the nodes of a cluster; without it standbys redirect. Default true. */
  requestForwarding?: boolean
  /** What of this works without a token; the rest then asks for one, as Vault 2 does. Default: all of it. */
  unauthenticatedAccess?: readonly ('generate-operation-token' | 'generate-root' | 'rekey')[] | undefined
}

/** Who calls what works without a token as a rule. */
export interface OperatorCaller {
  /** "" when none was sent. */
  token: string
  path: string
  remoteAddress: string
}

export type HealthState = 'uninitialized' | 'sealed' | 'dr-secondary' | 'performance-standby' | 'standby' | 'active'

export interface Core {
  handle(request: CoreRequest): Promise<CoreResponse>
  initialized(): Promise<boolean>
  initialize(params: Record<string, unknown>): Promise<Record<string, unknown>>
  sealStatus(): Promise<Record<string, unknown>>
  /** Whether whoever has the key of the auto seal can be reached, as of its last use by this node. */
  sealBackendStatus(): Promise<Record<string, unknown>>
  unseal(params: Record<string, unknown>): Promise<Record<string, unknown>>
  generateRoot(
    kind: 'root' | 'dr-operation',
    action: GenerateAction,
    params: Record<string, unknown>,
    /** Default: nobody in particular. */
    caller?: OperatorCaller,
  ): Promise<Record<string, unknown> | undefined>
  /** Of the unseal keys, or with an auto seal of the recovery keys. Undefined after `cancel`. */
  rekey(
    target: RekeyTarget,
    action: RekeyAction,
    params: Record<string, unknown>,
    /** Default: nobody in particular. */
    caller?: OperatorCaller,
  ): Promise<Record<string, unknown> | undefined>
  health(): Promise<{ state: HealthState; body: Record<string, unknown> }>
  leader(): Promise<Record<string, unknown>>
  /** Of this node, in any state and without a token: whoever shows it decides to whom. */
  metrics(): Promise<MetricsSnapshot>
  /** For `server -dev`: a root token with this id (or a generated one). */
  createRootToken(id?: string): Promise<string>
  /** Whether requests are the active node's to answer: pass them to `forward` then, all but those about this node. */
  standsBy(): boolean
  /** See `ForwardingClient`. */
  forward(request: ForwardedRequest, options?: { holdMs?: number }): Promise<ForwardedAnswer | { redirect: string }>
  /** `data` of a replication status path as this node finds it stored, for when the active node cannot be asked; else undefined. */
  storedStatus(path: string): Promise<Record<string, unknown> | undefined>
  /** What answers requests that standbys forward to this node. It rejects with CORE_STANDBY when it did nothing. */
  serveForwarded(serve: ServeForwarded): void
  reload(): Promise<void>
  close(): Promise<void>
}

const NOBODY: OperatorCaller = { token: '', path: '', remoteAddress: '' }

/** `hvs.` and `hvr.` tokens of this many characters. */
const TOKEN_LENGTH = 28

export async function createCore(components: CoreComponents, options: CoreOptions): Promise<Core> {
  const { log, clock, lock, physical } = components
  await assertNotMigrating(physical)
  let identity: ClusterIdentity | undefined
  let roles: Roles | undefined
  const counts = meter()
  const seals = nodeSeals({ ...components, meter: counts }, options)
  const { autoSeal } = seals
  const about: NodeAbout = {
    ...{ apiAddress: options.apiAddress, clusterAddress: options.clusterAddress },
    ...{ hostname: hostname(), version: options.version },
  }

  async function startServices(unsealed: Unsealed): Promise<Services> {
    identity = await clusterIdentity(unsealed.barrier, options.clusterName)
    const dr = await roleRecords(unsealed.barrier).role('dr')
    const parts = {
      ...{ ...components, lifeCycle: () => cycle, meter: counts, metrics, nodes: registry?.nodes, haNodes },
      rekeying: rekeys,
    }
    const start = dr.mode === 'secondary' ? drServices : fullServices
    const services = await start(unsealed, parts, options)
    const keeper = seals.keep(unsealed.store.logged)
    roles = services.roles
    return {
      ...services,
      async stop() {
        for (const generator of Object.values(generators)) generator.reset()
        rekeys.reset()
        roles = undefined
        await services.stop()
        await keeper?.stop()
      },
    }
  }

  const cycle: LifeCycle = await lifeCycle(
    {
      ...{ physical, autoSeal, lock, fenced: components.fenced, log, startServices },
      sealToMigrateFrom: seals.sealToMigrateFrom,
      startLeading: (unsealed) => node!.lead(unsealed),
    },
    {
      onWrite: (ms) => counts.observe('wal.persistWALs', ms),
      logBytes: options.logBytes,
      logRecords: options.logRecords,
      logMaxAgeMs: options.logMaxAgeMs,
    },
  )

  function active(): Unsealed {
    const unsealed = cycle.unsealed()
    if (unsealed === undefined) throw new CoreError('CORE_SEALED', 'Vault is sealed')
    return unsealed
  }

  const operators = {
    operatorKey: () => active().operatorKey(),
    shareCounts: () => active().shareCounts(),
  }
  const generators: Record<'root' | 'dr-operation', GenerateRoot> = {
    root: generateRoot({
      ...operators,
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
      ...operators,
      tokenLength: TOKEN_LENGTH,
      resultField: undefined,
      issue: () => operationTokens(active().barrier).issue(),
    }),
  }

  const rekeys = rekeying({ lifeCycle: () => cycle, active, hasAutoSeal: autoSeal !== undefined, log })

  type UnauthenticatedAccess = NonNullable<CoreOptions['unauthenticatedAccess']>[number]
  async function authenticate(group: UnauthenticatedAccess, caller: OperatorCaller) {
    const open = options.unauthenticatedAccess
    if (open === undefined || open.includes(group)) return
    if (caller.token !== '' && (await cycle.services()?.authenticates(caller))) return
    throw new CoreError('CORE_PERMISSION_DENIED', 'permission denied')
  }

  /** Sealing waits for the requests under way, so the one that asks for it is over before, and answered after. */
  async function handleSeal(request: CoreRequest): Promise<CoreResponse> {
    const response = await cycle.handle(request)
    await cycle.settled()
    return response
  }

  async function sealStatus(): Promise<Record<string, unknown>> {
    const config = await cycle.sealConfig()
    const recovery = config === undefined || config.type === 'shamir' ? undefined : await cycle.recoveryConfig()
    const counts = recovery ?? config
    const migration = await cycle.isMigrating()
    const configured = autoSeal?.type ?? 'shamir'
    const sealed = cycle.state() === 'sealed'
    const shown = sealed ? undefined : await shownIdentity()
    return {
      type: migration ? configured : (config?.type ?? configured),
      initialized: config !== undefined,
      sealed,
      t: counts?.secret_threshold ?? 0,
      n: counts?.secret_shares ?? 0,
      ...cycle.progress(),
      version: options.version,
      build_date: options.buildDate,
      migration,
      ...(shown === undefined ? {} : { cluster_name: shown.name, cluster_id: shown.id }),
      recovery_seal: autoSeal !== undefined,
      ...(recovery === undefined ? {} : { recovery_seal_type: recovery.type }),
      storage_type: options.storageType,
    }
  }

  /** A standby shows what the active node has stored. */
  async function roleModes(): Promise<{ performance: ModeWord; dr: ModeWord }> {
    const unsealed = cycle.unsealed()
    if (unsealed === undefined) return { performance: 'unknown', dr: 'unknown' }
    if (lock === undefined || cycle.state() === 'active') return unsealed.store.modes
    try {
      const records = roleRecords(unsealed.barrier)
      const dr = (await records.role('dr')).mode
      return { dr, performance: dr === 'secondary' ? 'disabled' : (await records.role('performance')).mode }
    } catch {
      // Keys or storage were changed under it; the next try to lead says how.
      return { performance: 'unknown', dr: 'unknown' }
    }
  }

  async function shownIdentity(): Promise<ClusterIdentity | undefined> {
    const unsealed = cycle.unsealed()
    if (identity !== undefined || unsealed === undefined) return identity
    return readClusterIdentity(unsealed.barrier).catch(() => undefined)
  }

  async function shownModes(): Promise<{ performance: ModeWord; dr: ModeWord }> {
    const { performance, dr } = await roleModes()
    return {
      performance: roles?.shownMode('performance') ?? performance,
      dr: roles?.shownMode('dr') ?? dr,
    }
  }

  /** For the active node. */
  async function haNodes(): Promise<Record<string, unknown>[]> {
    return haStatus(about, (await registry?.nodes()) ?? [], node?.echoes() ?? [])
  }

  function healthState(initialized: boolean, modes: { dr: ModeWord }): HealthState {
    if (!initialized) return 'uninitialized'
    if (cycle.state() === 'sealed') return 'sealed'
    if (modes.dr === 'secondary') return 'dr-secondary'
    return cycle.state() === 'standby' ? 'standby' : 'active'
  }

  const registry =
    lock &&
    nodeRegistry({
      ...{ physical, clock, log, state: cycle.state, hostname: about.hostname, version: about.version },
      ...{ address: about.apiAddress, clusterAddress: about.clusterAddress },
    })
  const node: ClusterNode | undefined =
    lock &&
    clusterNode(
      {
        ...{ lock, clock, log, listener: components.listener },
        ...{ standsBy: cycle.standsBy, serves: cycle.serves, unsealed: cycle.unsealed, modes: shownModes },
      },
      { about, forwarding: options.requestForwarding ?? true, meter: counts },
    )
  const metrics = nodeMetrics({
    ...{ meter: counts, clock, state: cycle.state, modes: roleModes },
    seals: seals.samples,
    replication: async () => (await roles?.metrics()) ?? [],
  })

  try {
    await cycle.autoUnseal()
  } catch (error) {
    await registry?.stop()
    await node?.stop()
    await cycle.close()
    throw error
  }

  return {
    async handle(request) {
      if (request.path === 'sys/seal') return handleSeal(request)
      const response = await cycle.handle(request)
      await response.conclusion?.run()
      return response
    },
    initialized: async () => (await cycle.sealConfig()) !== undefined,
    async initialize(params) {
      if ((await cycle.sealConfig()) !== undefined)
        throw new CoreError('CORE_INVALID_REQUEST', 'Vault is already initialized')
      const parsed = await parseInitialize(params, autoSeal?.type ?? 'shamir')
      const { shares, rootToken } = await cycle.initialize(parsed)
      const { hex, base64 } = shares
      log.info('cluster initialized', { shares: hex.length })
      if (autoSeal === undefined) return { keys: hex, keys_base64: base64, root_token: rootToken }
      return { keys: [], keys_base64: [], recovery_keys: hex, recovery_keys_base64: base64, root_token: rootToken }
    },
    sealStatus,
    sealBackendStatus: () => seals.status(cycle.store().logged),
    metrics,
    async unseal(params) {
      await cycle.unseal(params)
      return sealStatus()
    },
    async generateRoot(kind, action, params, caller = NOBODY) {
      active()
      if (cycle.state() === 'standby') throw new CoreError('CORE_STANDBY', 'Vault is in standby mode')
      await authenticate(kind === 'root' ? 'generate-root' : 'generate-operation-token', caller)
      const secondary = cycle.store().modes.dr === 'secondary'
      if (kind === 'dr-operation' && !secondary) throw new CoreError('CORE_INVALID_REQUEST', 'Not a DR secondary.')
      if (kind === 'root' && secondary) {
        throw new CoreError('CORE_INVALID_REQUEST', 'path disabled in replication DR secondary mode')
      }
      return generators[kind].run(action, params)
    },
    async rekey(target, action, params, caller = NOBODY) {
      active()
      if (cycle.state() === 'standby') throw new CoreError('CORE_STANDBY', 'Vault is in standby mode')
      await authenticate('rekey', caller)
      return rekeys.run(target, action, params)
    },
    async health() {
      // An unsealed node need not ask a storage that may be away, which is when health is asked for.
      const initialized = cycle.state() !== 'sealed' || (await cycle.sealConfig()) !== undefined
      const sealed = cycle.state() === 'sealed'
      const modes = await roleModes()
      const state = healthState(initialized, modes)
      const { lastWal, upstream } = { lastWal: roles?.lastWal() ?? 0, upstream: roles?.upstream() }
      const shown = sealed ? undefined : await shownIdentity()
      return {
        state,
        body: {
          initialized,
          sealed,
          standby: cycle.state() !== 'active',
          performance_standby: false,
          replication_performance_mode: roles?.shownMode('performance') ?? modes.performance,
          replication_dr_mode: roles?.shownMode('dr') ?? modes.dr,
          server_time_utc: Math.floor(clock.now() / 1000),
          version: options.version,
          enterprise: true,
          ...(shown === undefined ? {} : { cluster_name: shown.name, cluster_id: shown.id }),
          ...(lastWal === 0 ? {} : { last_wal: lastWal }),
          // None is needed.
          license: { state: 'none', expiry_time: '', terminated: false },
          echo_duration_ms: Math.round(upstream?.roundTripMs ?? 0),
          clock_skew_ms: Math.round(upstream?.clockSkewMs ?? 0),
          replication_primary_canary_age_ms: Math.round(upstream?.canaryAgeMs ?? 0),
          ...(cycle.standsBy() ? node?.health() : undefined),
        },
      }
    },
    async leader() {
      if (cycle.state() === 'sealed') throw new CoreError('CORE_SEALED', 'Vault is sealed')
      const self = cycle.state() === 'active'
      const leader = self ? about : await node?.leader()
      return {
        ha_enabled: lock !== undefined,
        is_self: self,
        active_time: self ? new Date(cycle.activeSince()).toISOString() : '0001-01-01T00:00:00Z',
        leader_address: leader?.apiAddress ?? '',
        leader_cluster_address: leader?.clusterAddress ?? '',
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
    standsBy: cycle.standsBy,
    forward(request, options) {
      if (node === undefined) throw new CoreError('CORE_INTERNAL', 'without a leader lock there is no standby')
      return node.forward(request, options)
    },
    storedStatus: async (path) => storedStatus(active().barrier, path),
    serveForwarded: (serve) => node?.serve(serve),
    async close() {
      await registry?.stop()
      await node?.stop()
      await cycle.close()
    },
  }
}
