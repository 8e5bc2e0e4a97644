/** Everything a cluster that serves clients runs: mounts, tokens, policies, leases, wrapping, audit, and its replication roles. */
import { randomBytes } from 'node:crypto'
import { prefixedStore } from '@lockstep/storage'
import { auditBroker } from '../audit/audit-broker.ts'
import { readClusterIdentity } from '../cluster-identity.ts'
import { consistency } from '../consistency/consistency.ts'
import { INDEX_KEY_PATH, indexKey } from '../consistency/index-key.ts'
import { setName } from '../consistency/index-state.ts'
import { logIdentity } from '../consistency/log-identity.ts'
import { CoreError, type MountEntry } from '../contracts.ts'
import { leaseHold } from '../leases/lease-hold.ts'
import { leaseHoldPaths, leaseHoldSudo } from '../leases/lease-hold-paths.ts'
import { leaseManager } from '../leases/lease-manager.ts'
import { type Mounts, mountTable } from '../mounts/mount-table.ts'
import { effectiveTtl } from '../mounts/mounted-backend.ts'
import { policyStore } from '../policy/policy-store.ts'
import { operationTokens } from '../replication/consent/operation-token.ts'
import { replicationPaths } from '../replication/paths.ts'
import { receiptSudo } from '../replication/promotion/receipt-paths.ts'
import { openRoles, type Roles } from '../replication/roles.ts'
import { withinBoundCidrs } from '../requests/bound-cidrs.ts'
import { requestHandler } from '../requests/request-handler.ts'
import type { LifeCycle } from '../seal-life-cycle/life-cycle-contract.ts'
import { operatorKeyFollower } from '../seal-life-cycle/operator-key-follower.ts'
import { sealKeys } from '../seal-life-cycle/seal-config.ts'
import type { Services, Unsealed } from '../seal-life-cycle/services.ts'
import { snapshotPaths, snapshotSudo } from '../snapshots/paths.ts'
import { afterRestore } from '../snapshots/restored.ts'
import { snapshots } from '../snapshots/snapshots.ts'
import { auditedHeaders } from '../system/audited-headers.ts'
import { rekeyPaths } from '../system/rekey-paths.ts'
import { systemBackend } from '../system/system-backend.ts'
import { versionHistory } from '../system/version-history.ts'
import { tokenBackend } from '../token/backend/token-backend.ts'
import { tokenStore } from '../token/token-store.ts'
import { wrappingStore } from '../wrapping/wrapping-store.ts'
import { batchSealing } from './batch-sealing.ts'
import type { ServiceComponents, ServiceOptions } from './components.ts'
import { invalidation } from './invalidation.ts'
import { leaseCalls } from './lease-calls.ts'
import { periodicWork } from './periodic-work.ts'
import { type Teardown, teardown } from './teardown.ts'

export async function fullServices(
  unsealed: Unsealed,
  components: ServiceComponents,
  options: ServiceOptions,
): Promise<Services & { roles: Roles }> {
  const running = teardown(components.log)
  try {
    return await start(unsealed, components, options, running)
  } catch (error) {
    await running.run()
    throw error
  }
}

async function start(
  unsealed: Unsealed,
  components: ServiceComponents,
  options: ServiceOptions,
  running: Teardown,
): Promise<Services & { roles: Roles }> {
  const { clock, log, factories, parseHcl } = components
  const { barrier, store } = unsealed
  const random = (bytes: number): Uint8Array => randomBytes(bytes)
  const defaults = { defaultLeaseTtl: options.defaultLeaseTtl, maxLeaseTtl: options.maxLeaseTtl }
  const isPerformanceSecondary = (): boolean => store.modes.performance === 'secondary'

  const policies = policyStore({ storage: prefixedStore(barrier, 'sys/policy/'), parseHcl })
  const mountTtl = (path: string): { default: number; max: number } => {
    const mount = mounts.route(path)
    if (mount !== undefined) return effectiveTtl(mount.entry, defaults)
    return { default: defaults.defaultLeaseTtl, max: defaults.maxLeaseTtl }
  }
  const leases = leaseManager({
    ...{ storage: barrier, clock, log, random, mountTtl },
    ...leaseCalls(() => mounts),
    revokeToken: (lease) => tokens.revokeLease(lease),
    lookupToken: (id) => tokens.lookup(id),
  })
  const hold = leaseHold({ storage: barrier, leases, log })
  const cubbyholePrefix = (): string => `logical/${mounts.route('cubbyhole/')!.entry.uuid}/`
  const tokens = tokenStore({
    ...{ storage: barrier, leases, clock, log, random },
    ...batchSealing(unsealed),
    async destroyCubbyhole(id) {
      const prefix = `${cubbyholePrefix()}${id}/`
      for await (const [key] of barrier.scan({ prefix })) await barrier.delete(key)
    },
  })
  const wrapping = wrappingStore({ tokens, storage: barrier, cubbyholePrefix, clock, log })
  const headers = auditedHeaders({ storage: barrier, log })
  const versions = versionHistory({ storage: barrier, clock })
  const audit = auditBroker({
    ...{ storage: barrier, classes: store.classes, clock, log, random },
    auditedHeaders: headers.current,
    nonHmacKeys: (accessor) => mounts.nonHmacKeys(accessor),
  })
  const roles = await openRoles(
    {
      ...{ unsealed, wrapping, clock, log, lifeCycle: components.lifeCycle(), listener: components.listener },
      operationTokens: operationTokens(barrier),
      meter: components.meter,
      nodes: components.nodes,
      leaseHold: hold,
      forwarded: (request, allowed) => handler.handleForwarded(request, allowed),
      mountPoints: () => [
        ...mounts
          .entries('secret')
          .filter(isShared)
          .map(({ path }) => path),
        ...mounts
          .entries('auth')
          .filter(isShared)
          .map(({ path }) => `auth/${path}`),
      ],
    },
    options,
  )
  /** Not awaited: what stops the services waits for the requests under way, of which the one that asks for it is one. */
  const begin = (what: string, act: (lifeCycle: LifeCycle) => Promise<void>): void => {
    act(components.lifeCycle()).catch((error: unknown) => log.error(`${what} failed`, { error: String(error) }))
  }
  const saved = snapshots(
    {
      ...{ unsealed, clock, log, lifeCycle: components.lifeCycle(), autoSeal: components.autoSeal },
      identity: () => readClusterIdentity(barrier),
    },
    options,
  )
  const system = () =>
    systemBackend({
      ...{
        mounts,
        policies,
        tokens,
        leases,
        wrapping,
        audit,
        clock,
        random,
        log,
        defaults,
        factories,
        isPerformanceSecondary,
      },
      auditedHeaders: headers,
      versionHistory: versions.list,
      metrics: components.metrics,
      haNodes: components.haNodes,
      version: options.version,
      barrier: {
        async rotate() {
          if (isPerformanceSecondary())
            throw new CoreError('CORE_INVALID_REQUEST', 'cannot rotate on a replication secondary')
          await unsealed.rotateKeyring()
        },
        keyStatus: () => unsealed.keyring().terms().at(-1)!,
      },
      seal: async () => begin('sealing', (lifeCycle) => lifeCycle.seal()),
      stepDown: async () => begin('stepping down', (lifeCycle) => lifeCycle.stepDown()),
      sanitizedConfig: options.sanitizedConfig && (() => options.sanitizedConfig!),
      extraPaths: [
        ...replicationPaths(roles),
        ...leaseHoldPaths(hold),
        ...rekeyPaths(components.rekeying),
        ...snapshotPaths(saved),
      ],
      extraSudo: [...receiptSudo, ...leaseHoldSudo, ...snapshotSudo],
    })
  const token = () =>
    tokenBackend({
      ...{ tokens, leases, clock, log },
      storage: prefixedStore(barrier, 'sys/token/'),
      mountTtl: () => mountTtl('auth/token/'),
      policyExists: policies.exists,
    })
  const mounts: Mounts = mountTable({
    ...{ storage: barrier, clock, random, log, defaults, isPerformanceSecondary },
    classes: {
      registerMount(mount) {
        const before = store.classes.mountPath(mount.uuid)
        store.classes.registerMount(mount)
        // What a filter says of a mount may differ under its new path.
        if (before !== undefined && before !== mount.mountPath) roles.mountsChanged()
      },
      unregisterMount: (uuid) => store.classes.unregisterMount(uuid),
    },
    factories: {
      secret: new Map([...factories.secret, ['system', system]]),
      auth: new Map([...factories.auth, ['token', token]]),
    },
    revokeLeases: (prefix, { force }) => leases.revokePrefix(prefix, { force }),
  })
  const key = indexKey({ storage: barrier, random, log })
  const handler = requestHandler({
    ...{ mounts, tokens, policies, leases, wrapping, audit, clock, log, defaults, isPerformanceSecondary },
    consistency: consistency(
      {
        clusterId: (await readClusterIdentity(barrier))!.id,
        logId: await logIdentity(barrier, random),
        set: setName(roles.performanceSet),
        followed: roles.followed,
        key: key.current,
        head: () => store.logged.log.head(),
        settled: () => invalidating.settled(),
      },
      { waitMs: options.walWaitMs, allowForwardingViaHeader: options.allowForwardingViaHeader },
    ),
    forward: isPerformanceSecondary() ? roles.forward : undefined,
    apiAddress: () => options.apiAddress,
  })

  running.add('audit', () => audit.close())
  running.add('mounts', () => mounts.close())
  running.add('leases', () => leases.stop())
  const follower = operatorKeyFollower(unsealed, isPerformanceSecondary, log)
  running.add('operator key', () => follower.stop())
  const invalidating = invalidation(store.logged, log, () => unsealed.reloadKeyring(), [
    [/^(?:core\/(?:local-)?(?:mounts|auth)|logical|auth)\//, (key) => mounts.invalidate(key)],
    [/^sys\/policy\//, (_key, rest) => policies.invalidate(rest)],
    [/^sys\/token\//, (_key, rest) => tokens.invalidate(rest)],
    [/^sys\/expire\//, (_key, rest) => leases.invalidate(rest)],
    [/^core\/(?:local-)?audit\//, (key) => audit.invalidate(key)],
    [/^sys\/config\/audited-headers\//, (key) => headers.invalidate(key)],
    [new RegExp(`^${INDEX_KEY_PATH}$`), () => key.invalidate()],
    [new RegExp(`^${sealKeys.operatorKey}$`), () => follower.look()],
  ])
  running.add('invalidation', invalidating.end)
  await mounts.load()
  if (!isPerformanceSecondary()) await policies.loadDefaults()
  await key.load({ make: !isPerformanceSecondary() })
  await headers.load()
  await audit.load()
  await versions.record(options.version, options.buildDate)
  await afterRestore({ logged: store.logged, barrier, keyring: unsealed.keyring, log })
  await hold.load()
  await leases.restore()
  running.add('replication', () => roles.stop())
  roles.start()
  follower.look()
  const stopPeriodic = periodicWork(log, async () => {
    if (!isPerformanceSecondary()) await unsealed.keepKeyring()
    await mounts.periodic()
  })
  running.add('periodic work', stopPeriodic)

  return {
    roles,
    handle: handler.handle,
    async authenticates({ token, remoteAddress }) {
      const entry = await tokens.lookup(token)
      return entry !== undefined && withinBoundCidrs(entry, remoteAddress)
    },
    async createRootToken(id) {
      const entry = await tokens.create({
        ...(id === undefined ? {} : { id }),
        ...{ policies: ['root'], path: 'auth/token/root', displayName: 'root', ttl: 0 },
      })
      return entry.id
    },
    reopenLogs: () => audit.reopen(),
    stop: () => running.run(),
  }
}

function isShared({ local }: MountEntry): boolean {
  return !local
}
