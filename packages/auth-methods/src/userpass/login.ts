import {
  type AuthGrant,
  BackendError,
  type BackendRequest,
  type BackendResponse,
  field,
  type Path,
  path,
} from '@lockstep/backend'
import { addressRanges } from '../cidr.ts'
import { equalPolicies } from '../policies.ts'
import { refuse, tokenGrant } from '../token-params.ts'
import type { Lockout } from './lockout.ts'
import { maxPasswordLength, verifyPassword } from './password.ts'
import type { UserStore } from './user-store.ts'

export function loginPath(users: UserStore, locks: Lockout): Path {
  return path('login/:username', {
    help: 'Logs a user in.',
    fields: { password: field.string({ description: 'The password.' }) },
    operations: {
      async update(request): Promise<BackendResponse> {
        const name = request.params.username.toLowerCase()
        const { password } = request.field
        if (password === undefined || password === '') refuse('missing password')
        if (locks.isLocked(name)) denied()
        const user = await users.get(name)
        const bounded = Buffer.byteLength(password) <= maxPasswordLength ? password : ''
        const valid = await verifyPassword(bounded, user?.passwordHash)
        // Guesses sent all at once must not outrun the lock: once it is on, no result is told.
        if (locks.isLocked(name)) denied()
        if (!valid || user === undefined || bounded === '') {
          locks.failed(name)
          return refuse('invalid username or password')
        }
        if (!addressRanges(user.token.boundCidrs).contains(request.remoteAddress)) denied()
        locks.succeeded(name)
        const auth: AuthGrant = {
          ...tokenGrant(user.token),
          displayName: name,
          alias: name,
          metadata: { username: name },
          internalData: {},
        }
        return { auth }
      },
    },
  })
}

/** A login renews for as long as the user is there with the policies it was given. */
export function renewLogin(users: UserStore) {
  return async ({ auth }: BackendRequest): Promise<BackendResponse> => {
    if (auth === undefined) return refuse('request auth was nil')
    const name = auth.metadata.username ?? ''
    const user = (await users.get(name)) ?? refuse(`user ${JSON.stringify(name)} does not exist during renewal`)
    if (!equalPolicies(user.token.policies, auth.policies)) refuse('policies have changed, not renewing')
    const { ttl, maxTtl, period } = user.token
    return { auth: { ...auth, ttl, maxTtl, period } }
  }
}

function denied(): never {
  throw new BackendError('BACKEND_PERMISSION_DENIED', 'permission denied')
}
