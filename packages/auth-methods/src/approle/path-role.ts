import {
  type BackendContext,
  type BackendResponse,
  checkedName,
  field,
  keyList,
  type Path,
  path,
} from '@lockstep/backend'
import { isCidr } from '../cidr.ts'
import {
  changedTokenParams,
  type LegacyValues,
  refuse,
  shownTokenParams,
  type TokenFieldValues,
  tokenFields,
} from '../token-params.ts'
import type { Role } from './role.ts'
import type { RoleStore } from './role-store.ts'
import type { SecretIdStore } from './secret-id-store.ts'

export const roleFields = {
  ...tokenFields,
  role_id: field.string({ description: 'The role id; random by default.' }),
  bind_secret_id: field.bool({ description: 'Whether logins need a secret id. Default true.' }),
  secret_id_bound_cidrs: field.commaStringList({ description: 'CIDR blocks logins may come from.' }),
  bound_cidr_list: field.commaStringList({ description: 'Older name of secret_id_bound_cidrs.' }),
  secret_id_num_uses: field.int({ description: 'Logins a new secret id is good for; 0 = any number.' }),
  secret_id_ttl: field.duration({ description: 'Lifetime of new secret ids; 0 = for ever.' }),
  local_secret_ids: field.bool({ description: 'Keep secret ids on this cluster. Only at creation.' }),
  policies: field.commaStringList({ description: 'Older name of token_policies.' }),
  period: field.duration({ description: 'Older name of token_period.' }),
}

interface RoleValues extends TokenFieldValues {
  role_id?: string | undefined
  bind_secret_id?: boolean | undefined
  secret_id_bound_cidrs?: string[] | undefined
  bound_cidr_list?: string[] | undefined
  secret_id_num_uses?: number | undefined
  secret_id_ttl?: number | undefined
  local_secret_ids?: boolean | undefined
  policies?: string[] | undefined
  period?: number | undefined
}

export function rolePaths(roles: RoleStore, secretIds: SecretIdStore, ttl: BackendContext['ttl']): Path[] {
  return [
    path('role', {
      help: 'Lists the roles.',
      operations: { list: async () => keyList(await roles.names()) },
    }),
    path('role/:role_name', {
      help: 'Creates, changes, shows or deletes a role. Names are case-insensitive.',
      fields: roleFields,
      exists: async (request) => (await roles.get(request.params.role_name.toLowerCase())) !== undefined,
      operations: {
        async read(request) {
          const role = await roles.get(request.params.role_name.toLowerCase())
          return role && { data: shownRole(role) }
        },
        async update(request): Promise<BackendResponse | undefined> {
          let warnings: string[] = []
          await roles.write(checkedName(request.params.role_name.toLowerCase()), (role, isNew) => {
            warnings = changeRole(role, isNew, request.field)
            if (role.token.maxTtl > ttl().max) {
              warnings.push(
                "token_max_ttl is greater than the backend mount's maximum TTL value; issued tokens' max TTL value will be truncated",
              )
            }
          })
          return warnings.length > 0 ? { warnings } : undefined
        },
        async delete(request) {
          const role = await roles.delete(request.params.role_name.toLowerCase())
          if (role !== undefined) await secretIds.removeAll(role)
          return undefined
        },
      },
    }),
  ]
}

/** Applies given fields; returns warnings. */
export function changeRole(role: Role, isNew: boolean, given: RoleValues): string[] {
  if (given.local_secret_ids !== undefined && given.local_secret_ids !== role.localSecretIds) {
    if (!isNew) refuse('local_secret_ids can only be modified during role creation')
    role.localSecretIds = given.local_secret_ids
  }
  if (given.role_id !== undefined) role.roleId = checkRoleId(given.role_id)
  role.bindSecretId = given.bind_secret_id ?? role.bindSecretId
  role.secretIdBoundCidrs = given.secret_id_bound_cidrs ?? given.bound_cidr_list ?? role.secretIdBoundCidrs
  for (const range of role.secretIdBoundCidrs) checkCidr(range)
  role.secretIdNumUses = given.secret_id_num_uses ?? role.secretIdNumUses
  if (role.secretIdNumUses < 0) refuse('secret_id_num_uses cannot be negative')
  role.secretIdTtl = given.secret_id_ttl ?? role.secretIdTtl
  const { given: adjusted, warnings } = adjustedType(given)
  role.token = changedTokenParams(role.token, adjusted, legacyValues(given))
  if (!role.bindSecretId && role.secretIdBoundCidrs.length === 0 && role.token.boundCidrs.length === 0) {
    refuse('at least one constraint should be enabled on the role')
  }
  return warnings
}

function adjustedType(given: RoleValues): { given: RoleValues; warnings: string[] } {
  const type = given.token_type
  if (type !== 'default-service' && type !== 'default-batch') return { given, warnings: [] }
  const token_type = type.slice('default-'.length)
  return { given: { ...given, token_type }, warnings: [`${type} has no useful meaning; adjusting to ${token_type}`] }
}

export function checkCidr(range: string): void {
  if (!isCidr(range, false)) refuse(`failed to validate CIDR blocks: invalid CIDR address: ${range}`)
}

function checkRoleId(roleId: string): string {
  const trimmed = roleId.trim()
  if (trimmed === '') refuse('invalid role_id supplied, or failed to generate a role_id')
  if (Buffer.byteLength(trimmed) > 4096) refuse('role_id is longer than 4096 bytes')
  return trimmed
}

function legacyValues(given: RoleValues): LegacyValues {
  return {
    policies: { target: 'policies', token: 'token_policies', value: given.policies },
    period: { target: 'period', token: 'token_period', value: given.period },
  }
}

export function shownRole(role: Role): Record<string, unknown> {
  return {
    ...shownTokenParams(role.token, legacyValues({})),
    bind_secret_id: role.bindSecretId,
    local_secret_ids: role.localSecretIds,
    secret_id_bound_cidrs: shownList(role.secretIdBoundCidrs),
    secret_id_num_uses: role.secretIdNumUses,
    secret_id_ttl: role.secretIdTtl,
  }
}

export function shownList(list: string[]): string[] | null {
  return list.length === 0 ? null : list
}
