/**
 * Users with passwords. Storage: one record per user (user-store.ts). Failed logins are counted in memory only.
 */
import { type BackendFactory, pathBackend } from '@lockstep/backend'
import { lockout } from './lockout.ts'
import { loginPath, renewLogin } from './login.ts'
import { userPaths } from './path-users.ts'
import { userStore } from './user-store.ts'

/** `userpass`. */
export function userpassAuth(): BackendFactory {
  return (context) => {
    const users = userStore(context.storage)
    return pathBackend({
      type: 'userpass',
      special: { unauthenticated: ['login/*'] },
      paths: [...userPaths(users), loginPath(users, lockout(context.now))],
      renew: renewLogin(users),
      revoke: async () => undefined,
      invalidate: (key) => users.invalidate(key),
    })
  }
}
