/** Which policies a new token gets: Vault's rules for subsets, roles, sudo and `default`. */
import { unassignablePolicies } from '../../policy/builtin-policies.ts'
import { invalidRequest } from './components.ts'
import { matchesAnyGlob, quotedList, sanitizedPolicies } from './policy-list.ts'
import { restrictsPolicies, type TokenRole } from './token-role.ts'

export interface PolicyRequest {
  /** As sent by the client. */
  wanted: readonly string[]
  noDefaultPolicy: boolean
  parentPolicies: readonly string[]
  /** Root, or sudo on the path. */
  sudo: boolean
  role: TokenRole | undefined
}

export function newTokenPolicies(request: PolicyRequest): string[] {
  const { wanted, noDefaultPolicy, parentPolicies, sudo, role } = request
  let policies: string[]
  if (role !== undefined && restrictsPolicies(role)) {
    policies = rolePolicies(request, role)
  } else if (wanted.length === 0) {
    policies = sanitizedPolicies(parentPolicies, false)
  } else if (sudo) {
    policies = sanitizedPolicies(wanted, !noDefaultPolicy)
  } else {
    const parents = sanitizedPolicies(parentPolicies, false)
    if (!sanitizedPolicies(wanted, false).every((name) => parents.includes(name))) {
      throw invalidRequest('child policies must be subset of parent')
    }
    policies = sanitizedPolicies(wanted, !noDefaultPolicy && parents.includes('default'))
  }
  if (noDefaultPolicy || role?.noDefaultPolicy === true) policies = policies.filter((name) => name !== 'default')

  const internal = policies.find((name) => unassignablePolicies.has(name))
  if (internal !== undefined) throw invalidRequest(`cannot assign policy ${JSON.stringify(internal)}`)
  if (policies.includes('root') && !parentPolicies.includes('root')) {
    throw invalidRequest('root tokens may not be created without parent token being root')
  }
  return policies
}

function rolePolicies({ wanted, noDefaultPolicy, parentPolicies }: PolicyRequest, role: TokenRole): string[] {
  const { disallowedPolicies, disallowedPoliciesGlob } = role
  const addDefault =
    !noDefaultPolicy &&
    !role.noDefaultPolicy &&
    !disallowedPolicies.includes('default') &&
    !matchesAnyGlob(disallowedPoliciesGlob, 'default')
  let policies = wanted.length > 0 ? sanitizedPolicies(wanted, addDefault) : []

  if (role.allowedPolicies.length > 0 || role.allowedPoliciesGlob.length > 0) {
    const allowed = sanitizedPolicies(role.allowedPolicies, addDefault)
    const globs = sanitizedPolicies(role.allowedPoliciesGlob, false)
    if (policies.length === 0) policies = allowed
    else if (!policies.every((name) => allowed.includes(name) || matchesAnyGlob(globs, name))) {
      throw invalidRequest(
        `token policies (${quotedList(policies)}) must be subset of the role's allowed policies (${quotedList(allowed)}) or glob policies (${quotedList(globs)})`,
      )
    }
  } else if (policies.length === 0) {
    policies = sanitizedPolicies(parentPolicies, addDefault)
  }

  const refused = policies.find(
    (name) => disallowedPolicies.includes(name) || matchesAnyGlob(disallowedPoliciesGlob, name),
  )
  if (refused !== undefined) throw invalidRequest(`token policy ${JSON.stringify(refused)} is disallowed by this role`)
  return policies
}
