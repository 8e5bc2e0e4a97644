import { type AuthGrant, type BackendRequest, type BackendResponse, field, type Path, path } from '@lockstep/backend'
import { addressRanges } from '../cidr.ts'
import { refuse, tokenGrant } from '../token-params.ts'
import type { LoadedRole } from './role.ts'
import type { RoleStore } from './role-store.ts'
import type { SecretId, SecretIdStore } from './secret-id-store.ts'

const invalid = 'invalid role or secret ID'

export function loginPath(roles: RoleStore, secretIds: SecretIdStore, now: () => number): Path {
  /** The secret id's record, its use already counted. */
  async function spent(role: LoadedRole, secretId: string, address: string): Promise<SecretId> {
    const entry = (await secretIds.find(role, secretId, now())) ?? refuse(invalid)
    if (!addressRanges(entry.cidrList).contains(address)) refuse(invalid)
    if (entry.numUses > 0 && !(await secretIds.use(role, secretId, now()))) refuse(invalid)
    return entry
  }

  return path('login', {
    help: 'Logs in with a role id and, unless the role does without, a secret id.',
    fields: {
      role_id: field.string({ default: '', description: 'The role id.' }),
      secret_id: field.string({ default: '', description: 'The secret id.' }),
    },
    operations: {
      async update(request): Promise<BackendResponse> {
        const { role_id, secret_id } = request.field
        if (role_id === '') refuse('missing role_id')
        const role = (await roles.byRoleId(role_id.trim())) ?? refuse(invalid)
        // Also without a secret id: it may be the role's only constraint.
        if (!addressRanges(role.secretIdBoundCidrs).contains(request.remoteAddress)) refuse(invalid)
        let entry: SecretId | undefined
        if (role.bindSecretId) {
          if (secret_id === '') refuse('missing secret_id')
          entry = await spent(role, secret_id, request.remoteAddress)
        }
        const grant = tokenGrant(role.token)
        if (entry !== undefined && entry.tokenBoundCidrs.length > 0) grant.boundCidrs = entry.tokenBoundCidrs
        const auth: AuthGrant = {
          ...grant,
          displayName: '',
          alias: role.roleId,
          metadata: { ...entry?.metadata, role_name: role.name },
          internalData: { role_name: role.name },
        }
        return { auth }
      },
    },
  })
}

export function renewLogin(roles: RoleStore) {
  return async ({ auth }: BackendRequest): Promise<BackendResponse> => {
    const name = auth?.internalData.role_name
    if (auth === undefined || typeof name !== 'string') return refuse('failed to fetch role_name during renewal')
    const role = (await roles.get(name)) ?? refuse(`role ${JSON.stringify(name)} does not exist during renewal`)
    const { ttl, maxTtl, period } = role.token
    return { auth: { ...auth, ttl, maxTtl, period } }
  }
}
