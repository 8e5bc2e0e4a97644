import type { BackendResponse, LeasedSecret } from '@lockstep/backend'
import { CoreError, type CoreRequest, type RoutedMount } from '../contracts.ts'
import type { Admission } from './admission.ts'
import { backendRequest } from './backend-request.ts'
import type { RequestComponents } from './components.ts'
import type { LeaseFacts } from './envelope.ts'

/**
 * Registers the lease of a secret that a backend just made. When no lease can be had the secret is revoked at once: nobody would ever
 * do it later.
 */
export async function leasedSecret(
  components: Pick<RequestComponents, 'leases' | 'clock' | 'log'>,
  request: CoreRequest,
  mount: RoutedMount,
  admission: Admission,
  response: BackendResponse & { secret: LeasedSecret },
): Promise<{ lease: LeaseFacts; warnings: readonly string[] }> {
  const { token, lastUse } = admission
  try {
    if (token === undefined) throw new CoreError('CORE_INTERNAL', 'a leased secret needs a token')
    if (lastUse) {
      const text = 'Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.'
      throw new CoreError('CORE_INVALID_REQUEST', text)
    }
    const lease = await components.leases.registerSecret({
      path: request.path,
      clientToken: token.id,
      secret: response.secret,
      data: response.data ?? null,
    })
    const duration = Math.max(0, Math.floor((lease.expireTime - components.clock.now()) / 1000))
    return { lease: { id: lease.id, renewable: lease.renewable, duration }, warnings: lease.warnings }
  } catch (error) {
    await revokeNow(components, request, mount, response.secret)
    throw error
  }
}

async function revokeNow(
  { clock, log }: Pick<RequestComponents, 'clock' | 'log'>,
  request: CoreRequest,
  mount: RoutedMount,
  secret: LeasedSecret,
): Promise<void> {
  const lease = { id: '', internalData: secret.internalData, issueTime: clock.now(), increment: 0 }
  const anonymous = { token: undefined, acl: undefined }
  try {
    await mount.backend.handle({ ...backendRequest(request, mount, anonymous, 'revoke'), data: {}, lease })
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    log.error('a secret without a lease could not be revoked', { path: request.path, request: request.id, error: text })
  }
}
