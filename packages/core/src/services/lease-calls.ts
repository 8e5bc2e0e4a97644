/** Renewing and revoking what a mount's backend leased: the lease manager's way to the backends. */
import type { BackendRequest, BackendResponse } from '@lockstep/backend'
import { CoreError, type Lease, type MountTable } from '../contracts.ts'

export interface LeaseCalls {
  revokeBackend(lease: Lease): Promise<void>
  renewBackend(lease: Lease, increment: number): Promise<BackendResponse | undefined>
}

export function leaseCalls(mounts: () => Pick<MountTable, 'route'>): LeaseCalls {
  function call(lease: Lease, operation: 'renew' | 'revoke', increment: number): Promise<BackendResponse | undefined> {
    const mount = mounts().route(lease.path)
    if (mount === undefined) throw new CoreError('CORE_NOT_FOUND', `no mount serves the path of lease ${lease.id}`)
    const request: BackendRequest = {
      id: '',
      operation,
      path: lease.path.slice(mount.point.length),
      data: {},
      mountPoint: mount.point,
      mountAccessor: mount.entry.accessor,
      headers: {},
      remoteAddress: '',
      wrapTtl: 0,
      storage: mount.storage,
      lease: { id: lease.id, internalData: lease.internalData, issueTime: lease.issueTime, increment },
      ...(lease.auth === undefined ? {} : { auth: lease.auth }),
    }
    return mount.backend.handle(request)
  }
  return {
    revokeBackend: async (lease) => {
      await call(lease, 'revoke', 0)
    },
    renewBackend: async (lease, increment) => call(lease, 'renew', increment),
  }
}
