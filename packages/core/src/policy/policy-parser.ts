/** From the JSON that HCL (or JSON) policy text stands for to rules, with Vault's messages. */
import { parseDuration } from '@lockstep/backend'
import { type Capability, capabilityIndex, legacyPolicies } from './capability.ts'
import type { ParameterValues, PolicyRule } from './rule.ts'
import { templatesBalanced } from './template.ts'

/** Why a policy text is refused; the message is Vault's without its `failed to parse policy: `. */
export class PolicySyntaxError extends Error {
  override readonly name = 'PolicySyntaxError'
}

const topKeys = new Set(['name', 'path'])
const ruleKeys = new Set([
  'comment',
  'policy',
  'capabilities',
  'allowed_parameters',
  'denied_parameters',
  'required_parameters',
  'min_wrapping_ttl',
  'max_wrapping_ttl',
  'subscribe_event_types',
])

type Block = Readonly<Record<string, unknown>>

/** @param text the source of `parsed`, only searched for the line of a key at fault. */
export function policyRules(parsed: Block, text: string): PolicyRule[] {
  refuseUnknownKeys(parsed, topKeys, '', text)
  const rules: PolicyRule[] = []
  for (const paths of blocks(ownValue(parsed, 'path'), 'path')) {
    for (const [path, body] of Object.entries(paths)) {
      for (const block of blocks(body, path)) rules.push(policyRule(path, block, text))
    }
  }
  return rules
}

function policyRule(written: string, block: Block, text: string): PolicyRule {
  const quoted = `path ${JSON.stringify(written)}: `
  refuseUnknownKeys(block, ruleKeys, quoted, text)
  const path = written.startsWith('/') ? written.slice(1) : written
  if (path.includes('+*')) {
    throw new PolicySyntaxError(`path ${JSON.stringify(path)}: invalid use of wildcards ('+*' is forbidden)`)
  }
  if (!templatesBalanced(path)) {
    throw new PolicySyntaxError('failed to validate policy templating: unbalanced templating characters')
  }
  const capabilities = grants(block, quoted)
  const rule: PolicyRule = { path, capabilities }
  if (capabilities[0] === 'deny') return rule

  const allowed = parameterValues(block, 'allowed_parameters', quoted)
  const denied = parameterValues(block, 'denied_parameters', quoted)
  const required = list(ownValue(block, 'required_parameters') ?? [], quoted).map(String)
  if (allowed.length > 0) rule.allowed = allowed
  if (denied.length > 0) rule.denied = denied
  if (required.length > 0) rule.required = required
  const min = wrapTtl(block, 'min_wrapping_ttl')
  const max = wrapTtl(block, 'max_wrapping_ttl')
  if (min !== 0) rule.minWrapTtl = min
  if (max !== 0) rule.maxWrapTtl = max
  if (min !== 0 && max !== 0 && max < min) {
    throw new PolicySyntaxError('max_wrapping_ttl cannot be less than min_wrapping_ttl')
  }
  return rule
}

function grants(block: Block, quoted: string): Capability[] {
  const granted = new Set<Capability>()
  for (const value of list(ownValue(block, 'capabilities') ?? [], quoted)) {
    const name = String(value)
    if (!capabilityIndex.has(name)) {
      throw new PolicySyntaxError(`${quoted}invalid capability ${JSON.stringify(name)}`)
    }
    if (name === 'deny') return ['deny']
    granted.add(name as Capability)
  }
  const legacy = ownValue(block, 'policy')
  if (legacy !== undefined && legacy !== '') {
    const names = legacyPolicies.get(String(legacy))
    if (names === undefined) throw new PolicySyntaxError(`${quoted}invalid policy ${JSON.stringify(legacy)}`)
    if (names[0] === 'deny') return ['deny']
    for (const name of names) granted.add(name)
  }
  return [...granted]
}

function parameterValues(block: Block, key: string, quoted: string): ParameterValues {
  const value = ownValue(block, key)
  if (value === undefined) return []
  const parameters = new Map<string, unknown[]>()
  for (const object of blocks(value, key, quoted)) {
    for (const [name, values] of Object.entries(object)) parameters.set(name.toLowerCase(), list(values, quoted))
  }
  return [...parameters]
}

function wrapTtl(block: Block, key: string): number {
  const value = ownValue(block, key)
  if (value === undefined) return 0
  try {
    return parseDuration(String(value))
  } catch (error) {
    throw new PolicySyntaxError(`error parsing ${key}: ${(error as Error).message}`)
  }
}

function ownValue(block: Block, key: string): unknown {
  return Object.hasOwn(block, key) ? block[key] : undefined
}

function list(value: unknown, quoted: string): unknown[] {
  if (!Array.isArray(value)) throw new PolicySyntaxError(`${quoted}expected a list, got ${typeof value}`)
  return value
}

/** HCL repeats blocks as arrays of objects; JSON may give the object alone. */
function* blocks(value: unknown, name: string, quoted = `path ${JSON.stringify(name)}: `): Iterable<Block> {
  if (value === undefined) return
  if (Array.isArray(value)) for (const item of value) yield* blocks(item, name, quoted)
  else if (typeof value === 'object' && value !== null) yield value as Block
  else throw new PolicySyntaxError(`${quoted}expected a block, got ${typeof value}`)
}

function refuseUnknownKeys(block: Block, known: ReadonlySet<string>, quoted: string, text: string): void {
  const unknown = Object.keys(block).filter((key) => !known.has(key))
  if (unknown.length === 0) return
  const errors = unknown.map((key) => `${quoted}invalid key ${JSON.stringify(key)} on line ${lineOf(key, text)}`)
  const title = errors.length === 1 ? '1 error occurred:' : `${errors.length} errors occurred:`
  throw new PolicySyntaxError(`${title}\n${errors.map((error) => `\t* ${error}\n`).join('')}\n`)
}

/** The line on which `key` is assigned; 0, as Vault says, when it opens a block without `=`. */
function lineOf(key: string, text: string): number {
  const literal = key.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const found = new RegExp(`(?<![\\w.-])"?${literal}"?\\s*[=:]`).exec(text)
  return found === null ? 0 : text.slice(0, found.index).split('\n').length
}
