import type { Capability } from './capability.ts'

/** Parameter name in lower case, and the values it speaks of; an empty list means any value. */
export type ParameterValues = readonly (readonly [name: string, values: readonly unknown[]])[]

/** One `path` stanza, as parsed from the policy text and as stored beside it. Plain JSON. */
export interface PolicyRule {
  /** No leading slash; may hold `+` segments, a trailing `*`, and `{{templates}}`. */
  path: string
  /** `["deny"]` alone when the stanza denies. */
  capabilities: readonly Capability[]
  allowed?: ParameterValues
  denied?: ParameterValues
  required?: readonly string[]
  /** Seconds. */
  minWrapTtl?: number
  /** Seconds. */
  maxWrapTtl?: number
}

export interface NamedRules {
  name: string
  rules: readonly PolicyRule[]
}
