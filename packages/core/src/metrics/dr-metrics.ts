/** `sys/metrics` on a DR secondary, which knows no logins: a DR operation token, a batch token of the primary, or its root token. */
import { CoreError, type CoreRequest, type CoreResponse } from '../contracts.ts'
import type { ReplicationManager } from '../replication/manager.ts'
import type { MetricsSnapshot } from './meter.ts'

export async function drMetrics(
  roles: Pick<ReplicationManager, 'checkOperationToken'>,
  metrics: () => Promise<MetricsSnapshot>,
  { operation, path, clientToken, remoteAddress }: CoreRequest,
): Promise<CoreResponse> {
  if (operation !== 'read') throw new CoreError('CORE_UNSUPPORTED_OPERATION', 'unsupported operation')
  const allowed =
    clientToken !== '' && (await roles.checkOperationToken(clientToken, { path, data: {}, remoteAddress }))
  if (!allowed) throw new CoreError('CORE_PERMISSION_DENIED', 'permission denied')
  return { status: 200, bare: await metrics() }
}
