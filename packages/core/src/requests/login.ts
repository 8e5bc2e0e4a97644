import type { AuthGrant } from '@lockstep/backend'
import { type AuthBlock, CoreError, type CoreRequest, type NewToken, type RoutedMount } from '../contracts.ts'
import { grantedTtl } from '../leases/ttl.ts'
import { effectiveTtl } from '../mounts/mounted-backend.ts'
import { unassignablePolicies } from '../policy/builtin-policies.ts'
import { authBlock } from '../token/auth-block.ts'
import { sanitizedPolicies } from '../token/backend/policy-list.ts'
import type { RequestComponents } from './components.ts'

/** Makes a token of what an auth method granted. */
export async function loginToken(
  components: Pick<RequestComponents, 'tokens' | 'clock' | 'defaults'>,
  request: CoreRequest,
  mount: RoutedMount,
  grant: AuthGrant,
): Promise<{ auth: AuthBlock; warnings: string[] }> {
  if (mount.entry.table !== 'auth') throw new CoreError('CORE_INTERNAL', 'only auth mounts may grant logins')
  const policies = sanitizedPolicies(grant.policies, !grant.noDefaultPolicy)
  if (policies.includes('root')) throw new CoreError('CORE_INVALID_REQUEST', 'auth methods cannot create root tokens')
  const internal = policies.find((name) => unassignablePolicies.has(name))
  if (internal !== undefined) throw new CoreError('CORE_INVALID_REQUEST', `cannot assign policy "${internal}"`)
  const type = tokenType(mount.entry.config.token_type, grant.tokenType)
  if (type === 'batch' && grant.numUses > 0) {
    throw new CoreError('CORE_INVALID_REQUEST', 'batch tokens cannot have a limited number of uses')
  }
  if (type === 'batch' && grant.period > 0)
    throw new CoreError('CORE_INVALID_REQUEST', 'batch tokens cannot be periodic')

  const now = components.clock.now()
  const { ttl, warnings } = grantedTtl({
    increment: 0,
    ttl: grant.ttl,
    maxTtl: grant.maxTtl,
    explicitMaxTtl: grant.explicitMaxTtl,
    period: grant.period,
    mount: effectiveTtl(mount.entry, components.defaults),
    issueTime: now,
    now,
  })
  const token: NewToken = {
    policies,
    path: request.path,
    parent: '',
    meta: Object.keys(grant.metadata).length === 0 ? null : grant.metadata,
    displayName: displayName(mount, grant.displayName),
    numUses: grant.numUses,
    ttl,
    explicitMaxTtl: grant.explicitMaxTtl,
    period: grant.period,
    type,
    entityId: '',
    boundCidrs: grant.boundCidrs,
    renewable: type === 'service' && grant.renewable,
  }
  const entry = await components.tokens.create(token, { auth: grant, leaseInternalData: grant.internalData })
  return { auth: authBlock(entry, entry.ttl), warnings }
}

/** `userpass-bob`. */
function displayName(mount: RoutedMount, name: string): string {
  return `${mount.entry.path.replaceAll('/', '-')}${name}`.replace(/-$/, '')
}

function tokenType(configured: string | undefined, granted: AuthGrant['tokenType']): 'service' | 'batch' {
  switch (configured) {
    case 'service':
    case 'batch':
      return configured
    case 'default-batch':
      return granted === 'default' ? 'batch' : granted
    default:
      return granted === 'default' ? 'service' : granted
  }
}
