/** Renewing and revoking what a mount's backend leased: the lease manager's way to the backends. */
import { BackendError, type BackendRequest, type BackendResponse } from '@lockstep/backend'
import type { Lease, MountTable, RoutedMount } from '../contracts.ts'

export interface LeaseCalls {
  revokeBackend(lease: Lease): Promise<void>
  renewBackend(lease: Lease, increment: number): Promise<BackendResponse | undefined>
}

export function leaseCalls(mounts: () => Pick<MountTable, 'route'>): LeaseCalls {
  function call(
    mount: RoutedMount,
    lease: Lease,
    operation: 'renew' | 'revoke',
    increment: number,
  ): Promise<BackendResponse | undefined> {
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
    async revokeBackend(lease) {
      const mount = mounts().route(lease.path)
      // With the mount went whatever it had leased.
      if (mount !== undefined) await call(mount, lease, 'revoke', 0)
    },
    async renewBackend(lease, increment) {
      const mount = mounts().route(lease.path)
      if (mount === undefined) return undefined
      try {
        return await call(mount, lease, 'renew', increment)
      } catch (error) {
        // A backend without renewal leaves it to the TTL rules.
        if (error instanceof BackendError && UNSUPPORTED.has(error.code)) return undefined
        throw error
      }
    },
  }
}

const UNSUPPORTED: ReadonlySet<string> = new Set(['BACKEND_UNSUPPORTED_OPERATION', 'BACKEND_UNSUPPORTED_PATH'])
