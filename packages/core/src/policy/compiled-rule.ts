/** The union of every stanza that speaks of one pattern, with the answers to authorization worked out in advance. */
import type { Operation } from '@lockstep/backend'
import type { AclDecision, AclQuery } from '../contracts.ts'
import { type Capability, capabilityBit, capabilityIndex, capabilityNames, DENY, SUDO } from './capability.ts'
import { mergeParameters, type ParameterMap, type ParameterRules, parametersPermitted } from './parameter-rules.ts'
import type { ParameterValues, PolicyRule } from './rule.ts'

const noPolicies: AclDecision['grantingPolicies'] = []
export const refused: AclDecision = Object.freeze({
  allowed: false,
  sudo: false,
  root: false,
  grantingPolicies: noPolicies,
})

const neededCapability: Record<Operation, Capability | undefined> = {
  create: 'create',
  read: 'read',
  update: 'update',
  patch: 'patch',
  delete: 'delete',
  list: 'list',
  renew: 'update',
  revoke: 'update',
  help: undefined,
}

const neededIndex = new Map(
  Object.entries(neededCapability).map(([operation, name]) => [operation, name && capabilityIndex.get(name)]),
)

/** Operations whose data the parameter rules look at. */
const checksParameters: ReadonlySet<Operation> = new Set<Operation>(['create', 'read', 'update', 'patch'])

export interface CompiledRule {
  /** As written, wildcards included. */
  readonly pattern: string
  readonly capabilities: number
  readonly parameters: ParameterRules | undefined
  readonly minWrapTtl: number
  readonly maxWrapTtl: number
  decide(query: AclQuery): AclDecision
}

/** Stanzas must share their pattern. The order does not matter. */
export function compileRule(pattern: string, stanzas: readonly { policy: string; rule: PolicyRule }[]): CompiledRule {
  const denies = stanzas.some(({ rule }) => rule.capabilities[0] === 'deny')
  const bits = denies ? DENY : stanzas.reduce((sum, { rule }) => sum | bitsOf(rule), 0)
  const live = denies ? [] : stanzas
  const allowed = live.reduce((all, { rule }) => mergeParameters(all, parameterMap(rule.allowed)), none)
  const denied = live.reduce((all, { rule }) => mergeParameters(all, parameterMap(rule.denied)), none)
  const required = [...new Set(live.flatMap(({ rule }) => rule.required ?? []).map((name) => name.toLowerCase()))]
  const parameters = allowed || denied || required.length > 0 ? { allowed, denied, required } : undefined
  const minWrapTtl = smallest(live.map(({ rule }) => rule.minWrapTtl ?? 0))
  const maxWrapTtl = smallest(live.map(({ rule }) => rule.maxWrapTtl ?? 0))
  const wraps = minWrapTtl > 0 || maxWrapTtl > 0

  const sudo = (bits & SUDO) !== 0
  const denial: AclDecision = sudo ? Object.freeze({ ...refused, sudo }) : refused
  const decisions = capabilityNames.map((name): AclDecision => {
    if (name === 'deny' || (bits & capabilityBit(name)) === 0) return denial
    const names = new Set(live.filter(({ rule }) => rule.capabilities.includes(name)).map(({ policy }) => policy))
    const grantingPolicies = [...names].map((policy) => ({ name: policy, type: 'acl' as const }))
    return Object.freeze({ allowed: true, sudo, root: false, grantingPolicies })
  })

  return {
    pattern,
    capabilities: bits,
    parameters,
    minWrapTtl,
    maxWrapTtl,
    decide(query) {
      const index = neededIndex.get(query.operation)
      if (index === undefined) return denial
      const decision = decisions[index]!
      if (!decision.allowed) return decision
      if (query.needsSudo === true && !sudo) return denial
      if (wraps && !wrapTtlPermitted(query.wrapTtl, minWrapTtl, maxWrapTtl)) return denial
      if (parameters !== undefined && checksParameters.has(query.operation)) {
        return parametersPermitted(parameters, query.data) ? decision : denial
      }
      return decision
    },
  }
}

const none: ParameterMap | undefined = undefined as ParameterMap | undefined

function bitsOf(rule: PolicyRule): number {
  return rule.capabilities.reduce((sum, name) => sum | capabilityBit(name), 0)
}

function parameterMap(values: ParameterValues | undefined): ParameterMap | undefined {
  return values && new Map(values)
}

/** Among those set; several policies can only shorten each other. */
function smallest(ttls: readonly number[]): number {
  const set = ttls.filter((ttl) => ttl > 0)
  return set.length === 0 ? 0 : Math.min(...set)
}

/** Merged policies can ask for the impossible (max below min): then nothing is permitted. */
function wrapTtlPermitted(ttl: number, min: number, max: number): boolean {
  if (ttl <= 0) return false
  return (max === 0 || ttl <= max) && (min === 0 || ttl >= min)
}
