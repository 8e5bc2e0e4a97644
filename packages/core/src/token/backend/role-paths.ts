/** auth/token/roles. */
import { field, keyList, type Path, path } from '@lockstep/backend'
import { invalidRequest, type TokenBackendComponents } from './components.ts'
import { deleteRole, isCidr, newRole, readRole, type TokenRole, writeRole } from './token-role.ts'

const roleFields = {
  allowed_policies: field.commaStringList(),
  allowed_policies_glob: field.commaStringList(),
  disallowed_policies: field.commaStringList(),
  disallowed_policies_glob: field.commaStringList(),
  allowed_entity_aliases: field.commaStringList(),
  orphan: field.bool(),
  renewable: field.bool(),
  path_suffix: field.string(),
  period: field.duration(),
  explicit_max_ttl: field.duration(),
  token_period: field.duration(),
  token_explicit_max_ttl: field.duration(),
  token_no_default_policy: field.bool(),
  token_num_uses: field.int(),
  token_bound_cidrs: field.commaStringList(),
  bound_cidrs: field.commaStringList(),
  token_type: field.string(),
}

type RoleInput = {
  readonly [K in keyof typeof roleFields]: (typeof roleFields)[K] extends { convert: unknown; fallback: infer T }
    ? T
    : never
}

export function rolePaths({ storage }: TokenBackendComponents): Path[] {
  return [
    path('roles', {
      help: 'Lists token roles.',
      operations: { list: async () => keyList(await storage.list('roles/')) },
    }),
    path('roles/:role_name', {
      help: 'A token role: how tokens of auth/token/create/<role> are made.',
      fields: roleFields,
      operations: {
        read: async ({ params }) => {
          const role = await readRole(storage, params.role_name)
          return role && { data: roleData(role) }
        },
        update: async ({ params, field: input }) => {
          const warnings: string[] = []
          const role = (await readRole(storage, params.role_name)) ?? newRole(params.role_name.toLowerCase())
          change(role, input, warnings)
          refuseContradictions(role)
          await writeRole(storage, role)
          return warnings.length > 0 ? { warnings } : undefined
        },
        delete: async ({ params }) => {
          await deleteRole(storage, params.role_name)
          return undefined
        },
      },
      exists: async ({ params }) => (await readRole(storage, params.role_name)) !== undefined,
    }),
  ]
}

function change(role: TokenRole, input: RoleInput, warnings: string[]): void {
  role.allowedPolicies = input.allowed_policies ? policyNames(input.allowed_policies) : role.allowedPolicies
  role.allowedPoliciesGlob = input.allowed_policies_glob
    ? policyNames(input.allowed_policies_glob)
    : role.allowedPoliciesGlob
  role.disallowedPolicies = input.disallowed_policies ? policyNames(input.disallowed_policies) : role.disallowedPolicies
  role.disallowedPoliciesGlob = input.disallowed_policies_glob
    ? policyNames(input.disallowed_policies_glob)
    : role.disallowedPoliciesGlob
  const aliases = input.allowed_entity_aliases
  if (aliases !== undefined) role.allowedEntityAliases = [...new Set(aliases.map((alias) => alias.toLowerCase()))]
  role.orphan = input.orphan ?? role.orphan
  role.renewable = input.renewable ?? role.renewable
  role.noDefaultPolicy = input.token_no_default_policy ?? role.noDefaultPolicy
  role.pathSuffix = input.path_suffix ?? role.pathSuffix
  if (role.pathSuffix !== '' && !/^\w[\w.-]+\w$/.test(role.pathSuffix)) {
    throw invalidRequest('given role path suffix contains invalid characters; must match \\w[\\w-.]+\\w')
  }
  role.numUses = input.token_num_uses ?? role.numUses
  if (role.numUses < 0) throw invalidRequest("error parsing role fields: 'token_num_uses' cannot be negative")
  role.boundCidrs = input.token_bound_cidrs ?? input.bound_cidrs ?? role.boundCidrs
  const wrong = role.boundCidrs.find((cidr) => !isCidr(cidr))
  if (wrong !== undefined) {
    const text = JSON.stringify(wrong)
    throw invalidRequest(
      `error parsing role fields: error parsing address ${text}: Unable to convert ${text} to an IPv4 or IPv6 address, or a UNIX Socket`,
    )
  }
  if (input.token_type !== undefined) role.tokenType = tokenType(input.token_type)
  changePeriod(role, input, warnings)
  changeExplicitMaxTtl(role, input, warnings)
}

function changePeriod(role: TokenRole, input: RoleInput, warnings: string[]): void {
  if (input.token_period !== undefined) {
    role.period = input.token_period
    role.legacyPeriod = false
    if (input.period !== undefined) {
      warnings.push("Both 'token_period' and deprecated 'period' value supplied, ignoring the deprecated value")
    }
  } else if (input.period !== undefined) {
    role.period = input.period
    role.legacyPeriod = true
  }
}

function changeExplicitMaxTtl(role: TokenRole, input: RoleInput, warnings: string[]): void {
  if (input.token_explicit_max_ttl !== undefined) {
    role.explicitMaxTtl = input.token_explicit_max_ttl
    role.legacyExplicitMaxTtl = false
    if (input.explicit_max_ttl !== undefined) {
      warnings.push(
        "Both 'token_explicit_max_ttl' and deprecated 'explicit_max_ttl' value supplied, ignoring the deprecated value",
      )
    }
  } else if (input.explicit_max_ttl !== undefined) {
    role.explicitMaxTtl = input.explicit_max_ttl
    role.legacyExplicitMaxTtl = true
  }
}

function tokenType(text: string): TokenRole['tokenType'] {
  switch (text) {
    case '':
    case 'default':
    case 'default-service':
      return 'default-service'
    case 'default-batch':
    case 'service':
    case 'batch':
      return text
    default:
      throw invalidRequest(`invalid 'token_type' value ${JSON.stringify(text)}`)
  }
}

function refuseContradictions(role: TokenRole): void {
  if (role.tokenType !== 'batch') return
  const refuse = (what: string) => invalidRequest(`'token_type' cannot be 'batch' when role is set to generate ${what}`)
  if (role.renewable) throw refuse('renewable tokens')
  if (role.period !== 0) throw refuse('periodic tokens')
  if (role.explicitMaxTtl !== 0) throw refuse('tokens with an explicit max TTL')
  if (role.numUses !== 0) throw refuse('tokens with limited use count')
}

function policyNames(names: readonly string[]): string[] {
  return [...new Set(names.map((name) => name.toLowerCase()).filter((name) => name !== ''))].sort()
}

function roleData(role: TokenRole): Record<string, unknown> {
  return {
    allowed_entity_aliases: role.allowedEntityAliases,
    allowed_policies: role.allowedPolicies,
    allowed_policies_glob: role.allowedPoliciesGlob,
    disallowed_policies: role.disallowedPolicies,
    disallowed_policies_glob: role.disallowedPoliciesGlob,
    explicit_max_ttl: role.legacyExplicitMaxTtl ? role.explicitMaxTtl : 0,
    name: role.name,
    orphan: role.orphan,
    path_suffix: role.pathSuffix,
    period: role.legacyPeriod ? role.period : 0,
    renewable: role.renewable,
    ...(role.boundCidrs.length > 0 && { token_bound_cidrs: role.boundCidrs }),
    token_explicit_max_ttl: role.explicitMaxTtl,
    token_no_default_policy: role.noDefaultPolicy,
    ...(role.numUses > 0 && { token_num_uses: role.numUses }),
    token_period: role.period,
    token_type: role.tokenType,
  }
}
