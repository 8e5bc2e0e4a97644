/**
 * Roles for machines. Storage: role-store.ts, secret-id-store.ts, `salt`.
 */
import { type BackendFactory, path, pathBackend } from '@lockstep/backend'
import { loginPath, renewLogin } from './path-login.ts'
import { rolePaths } from './path-role.ts'
import { roleFieldPaths } from './path-role-fields.ts'
import { secretIdPaths } from './path-secret-id.ts'
import { secretIdUsePaths } from './path-secret-id-use.ts'
import { roleStore } from './role-store.ts'
import { salt as mountSalt } from './salt.ts'
import { localFolders, secretIdStore } from './secret-id-store.ts'
import { tidy as tidier } from './tidy.ts'

/** `approle`. */
export function approleAuth(): BackendFactory {
  return (context) => {
    const salt = mountSalt(context.storage)
    const roles = roleStore(context.storage, salt)
    const secretIds = secretIdStore(context.storage, salt)
    const tidy = tidier(context.storage, roles, context.now)
    let underWay: Promise<unknown> = Promise.resolve()

    return pathBackend({
      type: 'approle',
      special: {
        unauthenticated: ['login'],
        localStorage: [localFolders.secretIds, localFolders.accessors],
      },
      paths: [
        loginPath(roles, secretIds, context.now),
        ...rolePaths(roles, secretIds, context.ttl),
        ...roleFieldPaths(roles),
        ...secretIdPaths(roles, secretIds, context),
        ...secretIdUsePaths(roles, secretIds, context.now),
        path('tidy/secret-id', {
          help: 'Removes expired secret ids, in the background.',
          operations: {
            update() {
              underWay = tidy.run().catch((error: unknown) => {
                context.log('error', 'tidying secret ids failed', { error: String(error) })
              })
              const warning =
                'Tidy operation successfully started. Any information from the operation will be printed to ' +
                "Vault's server logs."
              return { status: 202, warnings: [warning] }
            },
          },
        }),
      ],
      renew: renewLogin(roles),
      revoke: async () => undefined,
      invalidate(key) {
        salt.invalidate(key)
        roles.invalidate(key)
      },
      periodic: () => tidy.periodic(),
      close: async () => void (await underWay),
    })
  }
}
