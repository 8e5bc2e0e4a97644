/**
 * The cluster's two roles, running: what is stored (`role-records`) made into primaries and followers, and every change of
 * role. A change is checked and answered at once, then carried out by the life cycle with the services stopped.
 */
import { randomUUID } from 'node:crypto'
import type { BackendResponse } from '@lockstep/backend'
import { createReplicationCa, issuePrimaryServer, issueSecondary } from '@lockstep/bootstrap'
import { pathsFilter } from '@lockstep/paths-filter'
import type { ClusterListener } from '@lockstep/replication-transport'
import { type Clock, CoreError, type Log, type WrappingStore } from '../contracts.ts'
import type { LifeCycle } from '../seal-life-cycle/life-cycle.ts'
import type { Unsealed } from '../seal-life-cycle/services.ts'
import { fetchBootstrap, redeemToken } from './activate.ts'
import { decodeForwardedAnswer, encodeForwardedRequest, FORWARD, type ForwardedRequest } from './forwarded-request.ts'
import type { ReplicationManager } from './manager.ts'
import type { OperationTokens } from './operation-token.ts'
import { type PrimaryRole, primaryRole } from './primary-role.ts'
import { requestsFromSecondaries } from './requests-from-secondaries.ts'
import {
  type FilterRecord,
  type PrimaryRecord,
  type ReplicationKind,
  type RoleRecord,
  roleKeys,
  roleRecords,
  type SecondaryRecord,
} from './role-records.ts'
import { type SecondaryRole, secondaryRole } from './secondary-role.ts'

const KINDS: readonly ReplicationKind[] = ['performance', 'dr']

export interface RolesComponents {
  unsealed: Unsealed
  lifeCycle: Pick<LifeCycle, 'transition' | 'adopt'>
  listener: ClusterListener
  clock: Clock
  log: Log
  operationTokens: OperationTokens
  /** Absent on a DR secondary, which wraps nothing. */
  wrapping?: WrappingStore
  /** Runs what a performance secondary forwards; `allowed` tells which mounts it may know of. */
  forwarded?(request: ForwardedRequest, allowed: (mountPoint: string) => boolean): Promise<BackendResponse | undefined>
  /** Whether a DR batch token or the like permits a change of the DR role. */
  authorizesDr?(token: string): Promise<boolean>
}

export interface RolesOptions {
  apiAddress: string
  clusterAddress: string
  /** How long a forwarded write waits until it is visible here, ms. Vault's best_effort_wal_wait_duration, 2 s. */
  walWaitMs: number
  forwardTimeoutMs?: number
}

export interface Roles extends ReplicationManager {
  /** Follows and serves; call once the services are there to be told of changes. */
  start(): void
  stop(): Promise<void>
  /** Mounts moved or vanished: what secondaries may hold may differ. */
  mountsChanged(): void
  isPerformanceSecondary(): boolean
}

/** Reads the stored roles and sets them in force. */
export async function openRoles(components: RolesComponents, options: RolesOptions): Promise<Roles> {
  const { unsealed, lifeCycle, listener, clock, log, operationTokens } = components
  const { store } = unsealed
  const records = roleRecords(unsealed.barrier)
  const stored: Record<ReplicationKind, RoleRecord> = {
    performance: await records.role('performance'),
    dr: await records.role('dr'),
  }
  // A DR secondary holds its primary's performance role without playing it.
  if (stored.dr.mode === 'secondary') stored.performance = { mode: 'disabled' }
  store.modes.performance = stored.performance.mode
  store.modes.dr = stored.dr.mode
  const filters = new Map<string, FilterRecord>()
  const primaries: Partial<Record<ReplicationKind, PrimaryRole>> = {}
  const secondaries: Partial<Record<ReplicationKind, SecondaryRole>> = {}
  const loaded = await Promise.all(KINDS.map((kind) => loadMembers(kind)))

  async function loadMembers(kind: ReplicationKind) {
    const members = await records.secondaries(kind)
    if (kind === 'performance') {
      for (const { id } of members) {
        const filter = await records.filter(id)
        if (filter !== undefined) filters.set(id, filter)
      }
    }
    return members
  }

  const addresses = () => ({ api: options.apiAddress, cluster: [options.clusterAddress] })
  const shared = {
    store: store.logged,
    listener,
    classes: store.classes,
    clock,
    log,
    addresses,
    canary: () => clock.now(),
  }

  function startPrimary(
    kind: ReplicationKind,
    record: PrimaryRecord,
    members: Awaited<ReturnType<typeof loadMembers>>,
  ): void {
    const { forwarded } = components
    const answer = requestsFromSecondaries({
      unsealed,
      store: store.logged,
      kind,
      clusterId: record.clusterId,
      forwarded:
        kind === 'performance' && forwarded !== undefined
          ? (id, request) =>
              forwarded(request, (point) => primaries.performance?.view(id)?.ships(shipped, point) ?? false)
          : undefined,
    })
    const mounts = { pathOf: (mount: string) => store.classes.mountPath(mount) }
    primaries[kind] = primaryRole({ ...shared, mounts, answer }, { kind, record, secondaries: members, filters })
  }

  function start(): void {
    KINDS.forEach((kind, index) => {
      const record = stored[kind]
      if (record.mode === 'primary') startPrimary(kind, record, loaded[index]!)
      if (record.mode === 'secondary') {
        secondaries[kind] = secondaryRole({ ...shared, onAddresses: () => {} }, kind, record)
      }
    })
  }

  function primary(kind: ReplicationKind): PrimaryRole {
    const role = primaries[kind]
    if (role === undefined) throw invalid(`cluster is not a ${kind} replication primary`)
    return role
  }

  function secondary(kind: ReplicationKind): SecondaryRole {
    const role = secondaries[kind]
    if (role === undefined)
      throw invalid(kind === 'dr' ? 'Not a DR secondary.' : 'cluster is not a performance replication secondary')
    return role
  }

  /** After the answer is out: stop services, store the role, start again in it. */
  function changeRole(kind: ReplicationKind, next: RoleRecord, also?: (cluster: Unsealed) => Promise<void>): void {
    setImmediate(() => {
      lifeCycle
        .transition(async (cluster) => {
          // What the role forbids to write is lifted for the change itself.
          cluster.store.modes[kind] = 'disabled'
          await also?.(cluster)
          await roleRecords(cluster.barrier).saveRole(kind, next)
        })
        .catch((error: unknown) => log.error('changing the replication role failed', { kind, error: String(error) }))
    })
  }

  function assertCanBecomePrimary(kind: ReplicationKind): void {
    if (stored[kind].mode !== 'disabled') throw invalid(`${kind} replication is already enabled on this cluster`)
    if (stored.dr.mode === 'secondary') throw invalid('a DR secondary cannot be made a primary: promote it')
  }

  async function newPrimary(clusterId: string, primaryClusterAddr: string): Promise<PrimaryRecord> {
    const now = clock.now()
    const ca = await createReplicationCa({ clusterId, now })
    const server = await issuePrimaryServer(ca, { now })
    return {
      mode: 'primary',
      clusterId,
      primaryClusterAddr,
      ca,
      server: {
        caCertificate: ca.certificatePem,
        certificate: server.certificatePem,
        privateKey: server.privateKeyPem,
      },
      enabledAt: now,
    }
  }

  const roles: Roles = {
    start,
    async stop() {
      await Promise.all([...Object.values(primaries), ...Object.values(secondaries)].map((role) => role.close()))
    },
    mountsChanged() {
      for (const role of Object.values(primaries)) role.viewsChanged()
    },
    isPerformanceSecondary: () => stored.performance.mode === 'secondary',
    mode: (kind) => stored[kind].mode,
    lastWal: () => store.logged.log.head().index,
    async status(kind) {
      return primaries[kind]?.status() ?? secondaries[kind]?.status() ?? { mode: 'disabled' }
    },

    async enablePrimary(kind, primaryClusterAddr) {
      assertCanBecomePrimary(kind)
      changeRole(kind, await newPrimary(randomUUID(), primaryClusterAddr))
    },
    async demotePrimary(kind) {
      const { record } = primary(kind)
      const enabledAt = clock.now()
      const { clusterId } = record
      changeRole(kind, {
        mode: 'secondary',
        clusterId,
        secondaryId: '',
        primaryClusterAddrs: [],
        credentials: null,
        enabledAt,
      })
    },
    async disablePrimary(kind) {
      primary(kind)
      changeRole(kind, { mode: 'disabled' }, async ({ barrier }) => roleRecords(barrier).clear(kind))
    },

    async secondaryToken(kind, { id, ttl }) {
      const role = primary(kind)
      if (components.wrapping === undefined) throw invalid('this cluster issues no tokens')
      if (role.known().some((known) => known.id === id)) {
        throw invalid(`id: a secondary with the id ${JSON.stringify(id)} exists already; revoke it first`)
      }
      const { record } = role
      const now = clock.now()
      const issued = await issueSecondary(record.ca, { id, now }).catch((error: Error) => {
        throw invalid(`id: ${error.message}`)
      })
      const known = { id, fingerprint: issued.fingerprint, issuedAt: now }
      await records.saveSecondary(kind, known)
      role.add(known, filters.get(id) ?? (kind === 'performance' ? await records.filter(id) : undefined))
      return components.wrapping.wrap({
        response: {
          request_id: randomUUID(),
          lease_id: '',
          renewable: false,
          lease_duration: 0,
          data: {
            id,
            kind,
            clusterId: record.clusterId,
            caCertificate: record.ca.certificatePem,
            clientCertificate: issued.certificatePem,
            clientKey: issued.privateKeyPem,
            primaryClusterAddr: record.primaryClusterAddr || options.clusterAddress,
          },
          wrap_info: null,
          warnings: null,
          auth: null,
        },
        ttl,
        path: `sys/replication/${kind}/primary/secondary-token`,
        format: 'jwt',
        address: options.apiAddress,
      })
    },
    async revokeSecondary(kind, id) {
      const role = primary(kind)
      if (!role.known().some((known) => known.id === id))
        throw invalid(`id: no secondary has the id ${JSON.stringify(id)}`)
      await records.removeSecondary(kind, id)
      role.revoke(id)
    },

    async filter(id) {
      primary('performance')
      return records.filter(id)
    },
    async setFilter(id, input) {
      const role = primary('performance')
      const filter = checkFilter(input)
      await records.saveFilter(id, filter)
      filters.set(id, filter)
      role.setFilter(id, filter)
    },
    async deleteFilter(id) {
      const role = primary('performance')
      await records.removeFilter(id)
      filters.delete(id)
      role.setFilter(id, undefined)
    },
    async dynamicFilter(id) {
      const filter = await records.filter(id)
      return filter && { mounts: filter.paths, namespaces: [] }
    },

    async enableSecondary(kind, input) {
      if (stored[kind].mode !== 'disabled') throw invalid(`${kind} replication is already enabled on this cluster`)
      if (stored.dr.mode === 'secondary') throw invalid('this cluster is a DR secondary already')
      if (kind === 'dr' && stored.performance.mode !== 'disabled') {
        throw invalid("disable performance replication first: a DR secondary takes over its primary's role")
      }
      const activation = await redeemToken(kind, input, clock.now())
      const reply = await fetchBootstrap(activation)
      const record = secondaryRecord(activation)
      setImmediate(() => {
        lifeCycle
          .adopt(reply, (barrier) => roleRecords(barrier).saveRole(kind, record))
          .catch((error: unknown) =>
            log.error('becoming a secondary failed, nothing was changed', { kind, error: String(error) }),
          )
      })
    },
    async promoteSecondary(kind, { primaryClusterAddr, force }) {
      const role = secondary(kind)
      const dialing = role.record.credentials !== null && role.record.primaryClusterAddrs.length > 0
      if (dialing && !force && !role.caughtUp()) {
        const { lag_ms, last_error } = role.status()
        const why = last_error ? `the link to the primary is down (${last_error})` : `it is ${lag_ms} ms behind`
        throw new CoreError(
          'CORE_UNAVAILABLE',
          `this secondary cannot be shown to hold all of the primary's writes: ${why}; set force to promote it anyway`,
        )
      }
      const epoch = Math.max(store.logged.log.head().epoch, role.epoch()) + 1
      const next = await newPrimary(role.record.clusterId, primaryClusterAddr)
      changeRole(kind, next, async (cluster) => {
        await cluster.store.logged.log.startEpoch(epoch)
        await roleRecords(cluster.barrier).clear(kind)
        await cluster.store.logged.delete(roleKeys.cursor(kind))
        if (kind === 'dr') await operationTokens.delete()
      })
    },
    async disableSecondary(kind) {
      secondary(kind)
      changeRole(kind, { mode: 'disabled' }, async (cluster) => {
        await cluster.store.logged.delete(roleKeys.cursor(kind))
        if (kind === 'dr') await operationTokens.delete()
      })
    },
    async updatePrimary(kind, input) {
      const { record } = secondary(kind)
      if (input.updatePrimaryAddrs !== undefined) {
        if (record.credentials === null) {
          throw invalid('update_primary_addrs: this cluster was demoted and has no credentials; use a token')
        }
        return changeRole(kind, { ...record, primaryClusterAddrs: input.updatePrimaryAddrs })
      }
      if (input.token === '') return changeRole(kind, { ...record, primaryClusterAddrs: [] })
      const activation = await redeemToken(kind, input, clock.now())
      if (activation.package.clusterId !== record.clusterId) {
        throw invalid('token: it belongs to another replication set; disable replication and enable it anew')
      }
      await fetchBootstrap(activation)
      changeRole(kind, secondaryRecord(activation))
    },

    checkOperationToken: async (token) =>
      (await operationTokens.check(token)) || ((await components.authorizesDr?.(token)) ?? false),
    deleteOperationToken: () => operationTokens.delete(),

    async forward(request, caller) {
      const role = secondary('performance')
      const timeoutMs = options.forwardTimeoutMs ?? 30_000
      const body = await role.request(FORWARD, encodeForwardedRequest(request, caller), { timeoutMs })
      const { response, index } = decodeForwardedAnswer(body)
      if (await role.applied(index, options.walWaitMs)) return response
      return { ...response, warnings: [...(response?.warnings ?? []), STALE] }
    },
  }
  return roles

  function secondaryRecord({
    package: activation,
    credentials,
  }: Awaited<ReturnType<typeof redeemToken>>): SecondaryRecord {
    return {
      mode: 'secondary',
      clusterId: activation.clusterId,
      secondaryId: activation.id,
      primaryClusterAddrs: [activation.primaryClusterAddr],
      credentials,
      enabledAt: clock.now(),
    }
  }
}

const STALE =
  "Timeout hit while waiting for local replicated cluster to apply primary's write; this client may encounter stale reads of values written during this operation."
const shipped = { class: 'replicated', mount: 'core' } as const

function checkFilter(input: { mode: string; paths: string[] }): FilterRecord {
  try {
    return pathsFilter(input as FilterRecord).toJSON()
  } catch (error) {
    throw invalid((error as Error).message)
  }
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
