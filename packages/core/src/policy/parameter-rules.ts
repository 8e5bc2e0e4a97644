/** allowed_, denied_ and required_parameters of one rule, against a request's data. */
import { isDeepStrictEqual } from 'node:util'
import { isLosslessNumber } from '@lockstep/backend'

export type ParameterMap = Map<string, readonly unknown[]>

export interface ParameterRules {
  allowed: ParameterMap | undefined
  denied: ParameterMap | undefined
  required: readonly string[]
}

export function parametersPermitted(rules: ParameterRules, data: Readonly<Record<string, unknown>>): boolean {
  for (const name of rules.required) if (!Object.hasOwn(data, name)) return false
  const names = Object.keys(data)
  if (names.length === 0) return true

  const { allowed, denied } = rules
  if (denied !== undefined) {
    if (denied.has('*')) return false
    for (const name of names) {
      const values = denied.get(name.toLowerCase())
      if (values !== undefined && listed(data[name], values)) return false
    }
  }
  if (allowed !== undefined) {
    const any = allowed.has('*')
    if (any && allowed.size === 1) return true
    for (const name of names) {
      const values = allowed.get(name.toLowerCase())
      if (values === undefined ? !any : !listed(data[name], values)) return false
    }
  }
  return true
}

/** An empty list means any value. Strings may begin or end with `*`. */
function listed(value: unknown, values: readonly unknown[]): boolean {
  if (values.length === 0) return true
  const plain = isLosslessNumber(value) ? Number(value.value) : value
  return values.some((item) =>
    typeof item === 'string' && typeof plain === 'string' ? globMatches(item, plain) : isDeepStrictEqual(item, plain),
  )
}

function globMatches(pattern: string, value: string): boolean {
  if (pattern.length < 2) return pattern === value
  const open = pattern.startsWith('*')
  const close = pattern.endsWith('*')
  if (open && close) return value.includes(pattern.slice(1, -1))
  if (open) return value.endsWith(pattern.slice(1))
  if (close) return value.startsWith(pattern.slice(0, -1))
  return pattern === value
}

/** Names of both, values joined; "any value" on either side stays "any value". */
export function mergeParameters(
  into: ParameterMap | undefined,
  more: ParameterMap | undefined,
): ParameterMap | undefined {
  if (more === undefined) return into
  const merged: ParameterMap = new Map(into)
  for (const [name, values] of more) {
    const known = merged.get(name)
    const any = values.length === 0 || known?.length === 0
    merged.set(name, any ? [] : [...(known ?? []), ...values])
  }
  return merged
}
