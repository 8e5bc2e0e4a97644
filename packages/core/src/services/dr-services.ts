/**
 * What a DR secondary runs: its follower and a handful of paths. Authentication, leases, audit and mounts are not loaded; what
 * changes a role asks for a DR operation token, which takes the operators' shares to make.
 */
import { type Backend, pathBackend } from '@lockstep/backend'
import { CoreError, type CoreRequest, type CoreResponse, type Log } from '../contracts.ts'
import { drMetrics } from '../metrics/dr-metrics.ts'
import { drAuthorization } from '../replication/consent/dr-authorization.ts'
import { operationTokens } from '../replication/consent/operation-token.ts'
import { replicationPaths } from '../replication/paths.ts'
import { openRoles, type Roles } from '../replication/roles.ts'
import { clientError } from '../requests/request-error.ts'
import { operatorKeyFollower } from '../seal-life-cycle/operator-key-follower.ts'
import { sealKeys } from '../seal-life-cycle/seal-config.ts'
import type { Services, Unsealed } from '../seal-life-cycle/services.ts'
import { batchSealing } from './batch-sealing.ts'
import type { ServiceComponents, ServiceOptions } from './components.ts'
import { invalidation } from './invalidation.ts'
import { teardown } from './teardown.ts'

const ALLOWED =
  /^sys\/replication\/(?:(?:performance\/|dr\/)?status|dr\/secondary\/(?:diagnostics|inspect|promote|disable|update-primary|operation-token\/delete|recover|reindex|merkle-check|license\/status|(?:sys\/)?config\/reload\/[^/]+|generate-public-key|unreplicated(?:\/[^/]+(?:\/(?:entry|delete))?)?))$/

export async function drServices(
  unsealed: Unsealed,
  components: ServiceComponents,
  options: ServiceOptions,
): Promise<Services & { roles: Roles }> {
  const { clock, log, listener, parseHcl } = components
  const { barrier, store } = unsealed
  const authorizesDr = drAuthorization({ storage: barrier, clock, log, parseHcl, ...batchSealing(unsealed) })
  const roles = await openRoles(
    {
      ...{
        unsealed,
        clock,
        log,
        listener,
        lifeCycle: components.lifeCycle(),
        operationTokens: operationTokens(barrier),
        meter: components.meter,
        nodes: components.nodes,
      },
      authorizesDr,
    },
    options,
  )
  const backend = pathBackend({ type: 'system', paths: replicationPaths(roles) })
  const running = teardown(log)
  const follower = operatorKeyFollower(unsealed, () => true, log)
  running.add('operator key', () => follower.stop())
  const route = [new RegExp(`^${sealKeys.operatorKey}$`), () => follower.look()] as const
  running.add('invalidation', invalidation(store.logged, log, () => unsealed.reloadKeyring(), [route]).end)
  running.add('replication', () => roles.stop())
  try {
    roles.start()
    follower.look()
  } catch (error) {
    await running.run()
    throw error
  }
  return {
    roles,
    handle: (request) =>
      request.path === 'sys/metrics' ? drMetrics(roles, components.metrics, request) : answer(backend, request, log),
    authenticates: async ({ token, path, remoteAddress }) =>
      (await authorizesDr(token, { path, data: {}, remoteAddress })) !== undefined,
    stop: () => running.run(),
  }
}

async function answer(backend: Backend, request: CoreRequest, log: Log): Promise<CoreResponse> {
  if (!ALLOWED.test(request.path)) {
    throw new CoreError('CORE_INVALID_REQUEST', 'path disabled in replication DR secondary mode')
  }
  try {
    const response = await backend.handle({
      id: request.id,
      operation: request.operation,
      path: request.path.slice('sys/'.length),
      data: request.data,
      mountPoint: 'sys/',
      mountAccessor: '',
      headers: {},
      remoteAddress: request.remoteAddress,
      wrapTtl: 0,
      storage: noStorage,
    })
    if (response === undefined) return { status: 204 }
    return {
      status: response.status ?? 200,
      envelope: {
        request_id: request.id,
        lease_id: '',
        renewable: false,
        lease_duration: 0,
        data: response.data ?? null,
        wrap_info: null,
        warnings: response.warnings ?? null,
        auth: null,
      },
    }
  } catch (error) {
    throw clientError(error, false, log, request.id)
  }
}

/** These paths keep everything in the roles. */
const noStorage = new Proxy({} as never, {
  get() {
    throw new CoreError('CORE_INTERNAL', 'replication paths have no storage of their own')
  },
})
