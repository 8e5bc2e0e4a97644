/** A policy set compiled for the hot path: an exact map first, then the wildcard index. */
import type { Acl, AclDecision } from '../contracts.ts'
import { capabilityList, DENY } from './capability.ts'
import { type CompiledRule, compileRule, refused } from './compiled-rule.ts'
import { hasSegmentWildcard, pathIndex } from './path-index.ts'
import type { NamedRules, PolicyRule } from './rule.ts'
import { hasTemplate, type ResolveTemplate, resolveTemplates } from './template.ts'

const helpDecision: AclDecision = Object.freeze({ allowed: true, sudo: false, root: false, grantingPolicies: [] })
const rootDecision: AclDecision = Object.freeze({
  allowed: true,
  sudo: true,
  root: true,
  grantingPolicies: [{ name: 'root', type: 'root' as const }],
})

/** Grants everything. */
export const rootAcl: Acl = Object.freeze({
  root: true,
  authorize: () => rootDecision,
  capabilities: () => ['root'],
  hasAccessUnder: () => true,
  describe: () => ({ root: true, exact_paths: {}, glob_paths: {} }),
})

/** @param resolve Answers templates; rules it cannot answer are left out. Default: leaves out every rule with a template. */
export function compileAcl(policies: readonly NamedRules[], resolve?: ResolveTemplate): Acl {
  const compiled = mergedRules(policies, resolve)
  const exact = new Map<string, CompiledRule>()
  const wildcards: { pattern: string; value: CompiledRule }[] = []
  for (const rule of compiled) {
    if (isWildcard(rule.pattern)) wildcards.push({ pattern: rule.pattern, value: rule })
    else exact.set(rule.pattern, rule)
  }
  const index = pathIndex(wildcards)

  /** A listing's path ends in a slash; what speaks of the path without it counts where nothing speaks of the folder. */
  function ruleFor(path: string, listing: boolean): CompiledRule | undefined {
    const rule = exact.get(path)
    if (rule !== undefined) return rule
    if (!listing || !path.endsWith('/')) return index.find(path)
    const bare = path.slice(0, -1)
    return exact.get(bare) ?? index.find(path) ?? index.find(bare)
  }

  return {
    root: false,
    authorize(query) {
      if (query.operation === 'help') return helpDecision
      const rule = ruleFor(withoutLeadingSlashes(query.path), query.operation === 'list')
      return rule === undefined ? refused : rule.decide(query)
    },
    capabilities(path) {
      return capabilityList(ruleFor(withoutLeadingSlashes(path), true)?.capabilities ?? 0)
    },
    hasAccessUnder(prefix) {
      if (grants(ruleFor(prefix, true))) return true
      return compiled.some((rule) => grants(rule) && reachesUnder(rule.pattern, prefix))
    },
    describe() {
      const globs = wildcards.map(({ pattern, value }) => [globName(pattern), description(value)] as const)
      return {
        root: false,
        exact_paths: Object.fromEntries([...exact].map(([path, rule]) => [path, description(rule)])),
        glob_paths: Object.fromEntries(globs),
      }
    },
  }
}

function mergedRules(policies: readonly NamedRules[], resolve: ResolveTemplate | undefined): CompiledRule[] {
  const stanzas = new Map<string, { policy: string; rule: PolicyRule }[]>()
  for (const { name, rules } of policies) {
    for (const rule of rules) {
      const pattern = hasTemplate(rule.path) ? resolve && resolveTemplates(rule.path, resolve) : rule.path
      if (pattern === undefined) continue
      const known = stanzas.get(pattern)
      if (known === undefined) stanzas.set(pattern, [{ policy: name, rule }])
      else known.push({ policy: name, rule })
    }
  }
  return [...stanzas].map(([pattern, list]) => compileRule(pattern, list))
}

function isWildcard(pattern: string): boolean {
  return pattern.endsWith('*') || hasSegmentWildcard(pattern)
}

function withoutLeadingSlashes(path: string): string {
  let start = 0
  while (path.charCodeAt(start) === 47) start++
  return start === 0 ? path : path.slice(start)
}

function grants(rule: CompiledRule | undefined): boolean {
  return rule !== undefined && (rule.capabilities & ~DENY) !== 0
}

/** Whether some path below `prefix` (ending in `/`) can match the pattern. */
function reachesUnder(pattern: string, prefix: string): boolean {
  const star = pattern.endsWith('*')
  const text = star ? pattern.slice(0, -1) : pattern
  if (!hasSegmentWildcard(pattern)) return text.startsWith(prefix) || (star && prefix.startsWith(text))
  const wanted = text.split('/')
  const given = prefix.replace(/\/$/, '').split('/')
  for (const [position, segment] of given.entries()) {
    const want = wanted[position]
    if (want === undefined) return false
    if (star && position === wanted.length - 1) return segment.startsWith(want)
    if (want !== '+' && want !== segment) return false
  }
  return wanted.length > given.length
}

/** Vault shows a plain prefix without its `*`. */
function globName(pattern: string): string {
  return hasSegmentWildcard(pattern) ? pattern : pattern.slice(0, -1)
}

function description(rule: CompiledRule): Record<string, unknown> {
  const { parameters, minWrapTtl, maxWrapTtl } = rule
  return {
    capabilities: capabilityList(rule.capabilities),
    ...(minWrapTtl > 0 && { min_wrapping_ttl: minWrapTtl }),
    ...(maxWrapTtl > 0 && { max_wrapping_ttl: maxWrapTtl }),
    ...(parameters?.allowed && { allowed_parameters: Object.fromEntries(parameters.allowed) }),
    ...(parameters?.denied && { denied_parameters: Object.fromEntries(parameters.denied) }),
    ...(parameters && parameters.required.length > 0 && { required_parameters: parameters.required }),
  }
}
