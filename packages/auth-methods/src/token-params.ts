/**
 * The token settings every auth method's users or roles have: the `token_*` fields and their older names.
 */
import { type AuthGrant, BackendError, field } from '@lockstep/backend'
import { isCidr, shortCidr } from './cidr.ts'

/** Durations in seconds, 0 = the mount's. */
export interface TokenParams {
  ttl: number
  maxTtl: number
  explicitMaxTtl: number
  period: number
  policies: string[]
  boundCidrs: string[]
  noDefaultPolicy: boolean
  numUses: number
  type: 'default' | 'service' | 'batch'
  /** Older field names last used to set a value; replies then repeat the value under them. */
  legacy: string[]
}

export const tokenFields = {
  token_ttl: field.duration({ description: 'First lifetime of tokens.' }),
  token_max_ttl: field.duration({ description: 'Longest lifetime of tokens, renewals included.' }),
  token_explicit_max_ttl: field.duration({ description: 'Hard limit on the lifetime, also for periodic tokens.' }),
  token_period: field.duration({ description: 'Tokens are periodic: renewable for ever, by this much.' }),
  token_policies: field.commaStringList({ description: 'Policies of tokens.' }),
  token_bound_cidrs: field.commaStringList({ description: 'Addresses tokens may be used from.' }),
  token_no_default_policy: field.bool({ description: 'Leave the default policy out.' }),
  token_num_uses: field.int({ description: 'Requests a token is good for; 0 = any number.' }),
  token_type: field.string({ description: 'service, batch or default.' }),
}

/** Given values, as `request.field` has them. */
export interface TokenFieldValues {
  token_ttl?: number | undefined
  token_max_ttl?: number | undefined
  token_explicit_max_ttl?: number | undefined
  token_period?: number | undefined
  token_policies?: string[] | undefined
  token_bound_cidrs?: string[] | undefined
  token_no_default_policy?: boolean | undefined
  token_num_uses?: number | undefined
  token_type?: string | undefined
}

type LegacyTarget = 'ttl' | 'maxTtl' | 'period' | 'policies' | 'boundCidrs'

/** Older names of a method's fields: name, what it sets, and the value given. */
export type LegacyValues = Record<string, { target: LegacyTarget; token: keyof TokenFieldValues; value: unknown }>

export function newTokenParams(): TokenParams {
  return {
    ttl: 0,
    maxTtl: 0,
    explicitMaxTtl: 0,
    period: 0,
    policies: [],
    boundCidrs: [],
    noDefaultPolicy: false,
    numUses: 0,
    type: 'default',
    legacy: [],
  }
}

/**
 * The settings after a write.
 *
 * @throws BackendError when the result makes no sense
 */
export function changedTokenParams(
  before: TokenParams,
  given: TokenFieldValues,
  legacy: LegacyValues = {},
): TokenParams {
  const params = structuredClone(before)
  applyLegacy(params, given, legacy)
  params.ttl = given.token_ttl ?? params.ttl
  params.maxTtl = given.token_max_ttl ?? params.maxTtl
  params.explicitMaxTtl = given.token_explicit_max_ttl ?? params.explicitMaxTtl
  params.period = given.token_period ?? params.period
  params.policies = given.token_policies ?? params.policies
  params.boundCidrs = given.token_bound_cidrs ?? params.boundCidrs
  params.noDefaultPolicy = given.token_no_default_policy ?? params.noDefaultPolicy
  params.numUses = given.token_num_uses ?? params.numUses
  if (given.token_type !== undefined) params.type = tokenType(given.token_type)
  params.policies = params.policies.filter((policy) => policy !== '')
  params.boundCidrs = params.boundCidrs.filter((range) => range !== '').map(shortCidr)
  check(params)
  return params
}

// A legacy name counts only while its modern name is not given; giving the modern name alone ends the repetition.
function applyLegacy(params: TokenParams, given: TokenFieldValues, legacy: LegacyValues): void {
  for (const [name, { target, token, value }] of Object.entries(legacy)) {
    const modern = given[token]
    if (value !== undefined) {
      if (modern === undefined) Object.assign(params, { [target]: value })
      if (!params.legacy.includes(name)) params.legacy.push(name)
    } else if (modern !== undefined) params.legacy = params.legacy.filter((each) => each !== name)
  }
}

function tokenType(text: string): TokenParams['type'] {
  switch (text) {
    case '':
    case 'default':
      return 'default'
    case 'service':
    case 'batch':
      return text
    default:
      return refuse(`invalid 'token_type' value ${JSON.stringify(text)}`)
  }
}

function check(params: TokenParams): void {
  const batch = params.type === 'batch'
  const limit = "'token_type' cannot be 'batch' or 'default_batch' when set to generate"
  if (batch && params.period > 0) refuse(`${limit} periodic tokens`)
  if (params.numUses < 0) refuse("'token_num_uses' cannot be negative")
  if (batch && params.numUses > 0) refuse(`${limit} tokens with limited use count`)
  if (params.ttl > 0 && params.maxTtl > 0 && params.ttl > params.maxTtl) {
    refuse("'token_ttl' cannot be greater than 'token_max_ttl'")
  }
  for (const range of params.boundCidrs) {
    if (!isCidr(range, true)) {
      const text = JSON.stringify(range)
      refuse(`error parsing address ${text}: Unable to convert ${text} to an IPv4 or IPv6 address, or a UNIX Socket`)
    }
  }
}

/** The `token_*` part of a read. */
export function shownTokenParams(params: TokenParams, legacy: LegacyValues = {}): Record<string, unknown> {
  const shown: Record<string, unknown> = {
    token_bound_cidrs: params.boundCidrs,
    token_explicit_max_ttl: params.explicitMaxTtl,
    token_max_ttl: params.maxTtl,
    token_no_default_policy: params.noDefaultPolicy,
    token_num_uses: params.numUses,
    token_period: params.period,
    token_policies: params.policies,
    token_ttl: params.ttl,
    token_type: params.type,
  }
  for (const [name, { target }] of Object.entries(legacy)) {
    const value = params[target]
    const empty = Array.isArray(value) ? value.length === 0 : value === 0
    if (params.legacy.includes(name) && !empty) shown[name] = value
  }
  return shown
}

/** The part of a login's grant that the settings decide. */
export function tokenGrant(
  params: TokenParams,
): Pick<
  AuthGrant,
  | 'policies'
  | 'ttl'
  | 'maxTtl'
  | 'period'
  | 'explicitMaxTtl'
  | 'numUses'
  | 'tokenType'
  | 'noDefaultPolicy'
  | 'boundCidrs'
  | 'renewable'
> {
  return {
    policies: params.policies,
    ttl: params.ttl,
    maxTtl: params.maxTtl,
    period: params.period,
    explicitMaxTtl: params.explicitMaxTtl,
    numUses: params.numUses,
    tokenType: params.type,
    noDefaultPolicy: params.noDefaultPolicy,
    boundCidrs: params.boundCidrs,
    renewable: true,
  }
}

export function refuse(message: string): never {
  throw new BackendError('BACKEND_INVALID_REQUEST', message)
}
