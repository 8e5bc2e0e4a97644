/** auth/token/create, create-orphan and create/<role>: from request parameters to a token. */
import { field, parseDuration } from '@lockstep/backend'
import type { CoreBackendRequest, CoreBackendResponse, NewToken, TokenEntry } from '../../contracts.ts'
import { grantedTtl } from '../../leases/ttl.ts'
import { authBlock } from '../auth-block.ts'
import { invalidRequest, type TokenBackendComponents } from './components.ts'
import { newTokenPolicies } from './new-token-policies.ts'
import { readRole, type TokenRole } from './token-role.ts'

export const creationFields = {
  id: field.string({ default: '' }),
  policies: field.list({ default: [] }),
  meta: field.stringMap(),
  no_parent: field.bool({ default: false }),
  no_default_policy: field.bool({ default: false }),
  renewable: field.bool({ default: true }),
  lease: field.string({ default: '' }),
  ttl: field.string({ default: '' }),
  explicit_max_ttl: field.string({ default: '' }),
  period: field.string({ default: '' }),
  display_name: field.string({ default: '' }),
  num_uses: field.int({ default: 0 }),
  type: field.string({ default: '' }),
  entity_alias: field.string({ default: '' }),
}

export type CreationInput = {
  readonly [K in keyof typeof creationFields]: (typeof creationFields)[K]['fallback']
}

export interface CreationSettings {
  /** create-orphan. */
  orphan: boolean
  roleName?: string
}

const customIdWarning =
  'Supplying a custom ID for the token uses the weaker SHA1 hashing instead of the more secure SHA2-256 HMAC for token obfuscation. SHA1 hashed tokens on the wire leads to less secure lookups.'

export async function createToken(
  components: TokenBackendComponents,
  request: CoreBackendRequest,
  input: CreationInput,
  settings: CreationSettings,
): Promise<CoreBackendResponse> {
  const parent = request.token
  if (parent === undefined) throw invalidRequest('parent token lookup failed: no parent found')
  const role = settings.roleName === undefined ? undefined : await existingRole(components, settings.roleName)
  if (parent.type === 'batch') throw invalidRequest('batch tokens cannot create more tokens')
  if (parent.numUses !== 0) throw invalidRequest('restricted use token cannot generate child tokens')

  const sudo = hasSudo(request)
  const warnings: string[] = []
  const type = tokenType(input, role)
  const policies = newTokenPolicies({
    wanted: input.policies.map(String),
    noDefaultPolicy: input.no_default_policy,
    parentPolicies: parent.policies,
    sudo,
    role,
  })
  if (type === 'batch' && policies.includes('root')) throw invalidRequest('batch tokens cannot be root tokens')
  if (input.entity_alias !== '') refuseEntityAlias(input.entity_alias, role)

  const orphan = isOrphan(input, role, settings, sudo)
  const times = lifetimes(components, input, { role, sudo, type, policies, parent }, warnings)
  const token: NewToken = {
    policies,
    path: tokenPath(role, settings),
    parent: orphan ? '' : parent.id,
    meta: input.meta === undefined || Object.keys(input.meta).length === 0 ? null : input.meta,
    displayName: displayName(input.display_name),
    numUses: uses(input.num_uses, role),
    type,
    role: role?.name ?? '',
    entityId: orphan ? '' : parent.entityId,
    boundCidrs: times.ttl === 0 ? [] : boundCidrs(parent, role, orphan),
    renewable: input.renewable && role?.renewable !== false,
    ...times,
  }
  if (input.id !== '') {
    token.id = customId(input.id, sudo)
    warnings.push(customIdWarning)
  }
  const entry = await components.tokens.create(token)
  for (const name of policies) {
    const exists = name === 'root' || components.policyExists(name)
    if (!(typeof exists === 'boolean' ? exists : await exists)) {
      warnings.push(`Policy ${JSON.stringify(name)} does not exist`)
    }
  }
  return { authBlock: authBlock(entry, entry.ttl), ...(warnings.length > 0 && { warnings }) }
}

async function existingRole({ storage }: TokenBackendComponents, name: string): Promise<TokenRole> {
  const role = await readRole(storage, name)
  if (role === undefined) throw invalidRequest(`unknown role ${name}`)
  return role
}

function hasSudo({ acl, mountPoint, path }: CoreBackendRequest): boolean {
  return acl?.authorize({ operation: 'update', path: mountPoint + path, data: {}, wrapTtl: 0 }).sudo ?? false
}

function tokenType(input: CreationInput, role: TokenRole | undefined): 'service' | 'batch' {
  if (input.num_uses < 0) throw invalidRequest('number of uses cannot be negative')
  const fixed = role?.tokenType === 'service' || role?.tokenType === 'batch' ? role.tokenType : undefined
  const fallback = role?.tokenType === 'default-batch' ? 'batch' : 'service'
  const type = fixed ?? (input.type === '' ? fallback : input.type)
  if (type !== 'service' && type !== 'batch') throw invalidRequest("invalid 'token_type' value")
  if (type === 'service') return type
  // The command-line client sends "0s" for what was not asked for.
  const given = {
    explicit_max_ttl: duration(input.explicit_max_ttl, 'explicit_max_ttl') !== 0,
    num_uses: input.num_uses !== 0,
    period: duration(input.period, 'period') !== 0,
    id: input.id !== '',
  }
  const unfit = Object.entries(given).find(([, set]) => set)?.[0]
  if (unfit !== undefined) throw invalidRequest(`batch tokens cannot have ${JSON.stringify(unfit)} set`)
  return type
}

function refuseEntityAlias(alias: string, role: TokenRole | undefined): never {
  if (role === undefined) throw invalidRequest("'entity_alias' is only allowed in combination with token role")
  const allowed = role.allowedEntityAliases ?? []
  if (!allowed.includes(alias.toLowerCase())) throw invalidRequest("invalid 'entity_alias' value")
  throw invalidRequest("'entity_alias' is not supported")
}

function isOrphan(
  input: CreationInput,
  role: TokenRole | undefined,
  settings: CreationSettings,
  sudo: boolean,
): boolean {
  if (role !== undefined) return role.orphan
  if (input.no_parent && !sudo) throw invalidRequest('root or sudo privileges required to create orphan token')
  return input.no_parent || settings.orphan
}

function tokenPath(role: TokenRole | undefined, { orphan }: CreationSettings): string {
  if (role === undefined) return orphan ? 'auth/token/create-orphan' : 'auth/token/create'
  return `auth/token/create/${role.name}${role.pathSuffix === '' ? '' : `/${role.pathSuffix}`}`
}

function displayName(wanted: string): string {
  return wanted === '' ? 'token' : `token-${wanted}`.replace(/[^a-zA-Z0-9-]/g, '-').replace(/-$/, '')
}

function uses(wanted: number, role: TokenRole | undefined): number {
  const limit = role?.numUses ?? 0
  return limit > 0 && (wanted === 0 || limit < wanted) ? limit : wanted
}

function boundCidrs(parent: TokenEntry, role: TokenRole | undefined, orphan: boolean): string[] {
  if (!orphan && parent.boundCidrs.length > 0) return parent.boundCidrs
  return role?.boundCidrs ?? []
}

function customId(id: string, sudo: boolean): string {
  if (!sudo) throw invalidRequest('root or sudo privileges required to specify token id')
  for (const prefix of ['s.', 'hvs.']) {
    if (id.startsWith(prefix)) throw invalidRequest(`custom token ID cannot have the '${prefix}' prefix`)
  }
  if (id.includes('.')) throw invalidRequest("custom token ID cannot have a '.' in the value")
  return id
}

type Facts = {
  role: TokenRole | undefined
  sudo: boolean
  type: 'service' | 'batch'
  policies: string[]
  parent: TokenEntry
}

/** TTL, period and explicit max TTL of the new token, in seconds. */
function lifetimes(
  { clock, mountTtl }: TokenBackendComponents,
  input: CreationInput,
  { role, sudo, type, policies, parent }: Facts,
  warnings: string[],
): { ttl: number; period: number; explicitMaxTtl: number } {
  const service = type === 'service'
  const explicitMaxTtl = lesser(
    duration(input.explicit_max_ttl, 'explicit_max_ttl'),
    service ? (role?.explicitMaxTtl ?? 0) : 0,
    'Explicit max TTL',
    warnings,
  )
  const ownPeriod = duration(input.period, 'period')
  if (ownPeriod > 0 && !sudo) throw invalidRequest('root or sudo privileges required to create periodic token')
  const period = lesser(ownPeriod, service ? (role?.period ?? 0) : 0, 'Period', warnings)
  const wanted = duration(input.ttl !== '' ? input.ttl : input.lease, input.ttl !== '' ? 'ttl' : 'lease')

  const root = policies.includes('root')
  let ttl = 0
  if (period > 0 || wanted > 0 || !root) {
    const now = clock.now()
    const rules = { increment: 0, ttl: wanted, maxTtl: 0, explicitMaxTtl, period }
    const granted = grantedTtl({ ...rules, mount: mountTtl(), issueTime: now, now })
    ttl = granted.ttl
    warnings.push(...granted.warnings)
  } else if (explicitMaxTtl > 0) {
    ttl = explicitMaxTtl
  }
  if (ttl === 0 && parent.ttl !== 0) {
    throw invalidRequest('expiring root tokens cannot create non-expiring root tokens')
  }
  return { ttl, period, explicitMaxTtl }
}

function duration(text: string, name: string): number {
  let seconds: number
  try {
    seconds = parseDuration(text)
  } catch (error) {
    throw invalidRequest((error as Error).message)
  }
  if (seconds < 0) throw invalidRequest(`${name} must be positive`)
  return seconds
}

function lesser(own: number, ofRole: number, what: string, warnings: string[]): number {
  if (own === 0 || ofRole === 0) return own || ofRole
  const least = Math.min(own, ofRole)
  warnings.push(`${what} specified both during creation call and in role; using the lesser value of ${least} seconds`)
  return least
}
