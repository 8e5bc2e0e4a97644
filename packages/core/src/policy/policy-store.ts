/**
 * ACL policies: one record `<name>` per policy, holding the text and the rules parsed from it, and compiled policy sets in memory.
 * A cached answer is never older than the last `set`, `delete` or `invalidate` that has returned.
 */
import { jsonText, writeJson } from '@lockstep/backend'
import type { Store } from '@lockstep/storage'
import { type Acl, CoreError, type PolicyIdentity, type PolicyStore } from '../contracts.ts'
import { recentCache } from '../token/recent-cache.ts'
import { compileAcl, rootAcl } from './acl.ts'
import { defaultPolicyText, wrappingPolicyName, wrappingPolicyRules, wrappingPolicyText } from './builtin-policies.ts'
import { PolicySyntaxError, policyRules } from './policy-parser.ts'
import type { NamedRules, PolicyRule } from './rule.ts'
import { hasTemplate, type ResolveTemplate } from './template.ts'

export interface PolicyStoreComponents {
  /** View of `sys/policy/`. */
  storage: Store
  /** `parseHcl` of `@lockstep/hcl`. */
  parseHcl(text: string): Promise<Record<string, unknown>>
}

export interface CachedPolicyStore extends PolicyStore {
  /** For the `does not exist` warnings of new tokens. Synchronous when known. */
  exists(name: string): Promise<boolean> | boolean
}

interface PolicyRecord {
  v: 1
  raw: string
  rules: PolicyRule[]
}

interface CompiledSet {
  acl: Acl
  names: readonly string[]
  templated: boolean
}

/** Compiled sets kept; each is a few kilobytes. */
const SETS = 512
/** Policies whose rules are kept. */
const POLICIES = 1024

export function policyStore({ storage, parseHcl }: PolicyStoreComponents): CachedPolicyStore {
  const rulesByName = recentCache<string, NamedRules | 'absent'>(POLICIES)
  const sets = recentCache<string, CompiledSet>(SETS)
  /** Answers by the identity of a token's policy array; emptied by replacement whenever a policy changes. */
  let byArray = new WeakMap<readonly string[], Acl>()
  /** Counts changes: what was read before a change is not cached after it. */
  let changes = 0

  function forget(name: string): void {
    changes++
    rulesByName.delete(name)
    byArray = new WeakMap()
    for (const [key, set] of [...sets.entries()]) if (set.names.includes(name)) sets.delete(key)
  }

  async function readRules(name: string): Promise<NamedRules | undefined> {
    if (name === wrappingPolicyName) return { name, rules: wrappingPolicyRules }
    const known = rulesByName.get(name)
    if (known !== undefined) return known === 'absent' ? undefined : known
    const before = changes
    const bytes = await storage.get(name)
    const found = bytes === undefined ? undefined : { name, rules: parseRecord(bytes).rules }
    if (before === changes) rulesByName.set(name, found ?? 'absent')
    return found
  }

  async function compile(names: readonly string[], resolve?: ResolveTemplate): Promise<CompiledSet> {
    const policies = (await Promise.all(names.map(readRules))).filter((rules) => rules !== undefined)
    const templated = policies.some(({ rules }) => rules.some(({ path }) => hasTemplate(path)))
    return { acl: compileAcl(policies, resolve), names, templated }
  }

  async function compiledSet(policies: readonly string[], key: string): Promise<CompiledSet> {
    const before = changes
    const set = await compile([...new Set(policies)])
    if (before === changes) sets.set(key, set)
    return set
  }

  function forIdentity(set: CompiledSet, policies: readonly string[], identity?: PolicyIdentity): Promise<Acl> | Acl {
    if (identity === undefined) {
      if (sets.get(JSON.stringify(policies)) === set) byArray.set(policies, set.acl)
      return set.acl
    }
    if (!set.templated) return set.acl
    const key = JSON.stringify([identity.key, policies])
    return sets.get(key)?.acl ?? resolvedSet(set.names, key, identity)
  }

  async function resolvedSet(names: readonly string[], key: string, identity: PolicyIdentity): Promise<Acl> {
    const before = changes
    const set = await compile(names, (expression) => identity.resolve(expression))
    if (before === changes) sets.set(key, set)
    return set.acl
  }

  async function store(name: string, text: string): Promise<void> {
    const record: PolicyRecord = { v: 1, raw: text, rules: await parse(text) }
    try {
      await writeJson(storage, name, record)
    } finally {
      forget(name)
    }
  }

  async function parse(text: string): Promise<PolicyRule[]> {
    try {
      return policyRules(await parseHcl(text), text)
    } catch (error) {
      if (!isRefusal(error)) throw error
      throw new CoreError('CORE_INVALID_REQUEST', `failed to parse policy: ${error.message}`, { cause: error })
    }
  }

  return {
    async get(name) {
      const key = name.toLowerCase()
      if (key === 'root') return { name: key, policy: '' }
      if (key === wrappingPolicyName) return { name: key, policy: wrappingPolicyText }
      const bytes = key === '' ? undefined : await storage.get(key)
      return bytes === undefined ? undefined : { name: key, policy: parseRecord(bytes).raw }
    },

    async set(name, policy) {
      const key = name.toLowerCase()
      const text = decodedText(policy)
      if (key === '') throw new CoreError('CORE_INVALID_REQUEST', 'policy name missing')
      if (key === 'root' || key === wrappingPolicyName) {
        throw new CoreError('CORE_INVALID_REQUEST', `cannot update ${JSON.stringify(key)} policy`)
      }
      await store(key, text)
    },

    async delete(name) {
      const key = name.toLowerCase()
      if (key === 'root' || key === wrappingPolicyName) {
        throw new CoreError('CORE_INVALID_REQUEST', `cannot delete ${JSON.stringify(key)} policy`)
      }
      if (key === 'default') throw new CoreError('CORE_INVALID_REQUEST', 'cannot delete default policy')
      if (key === '') return
      try {
        await storage.delete(key)
      } finally {
        forget(key)
      }
    },

    async list() {
      const names: string[] = []
      for await (const [key] of storage.scan()) names.push(key)
      return [...names, 'root']
    },

    acl(policies, identity) {
      if (identity === undefined) {
        const known = byArray.get(policies)
        if (known !== undefined) return known
      }
      if (policies.includes('root')) {
        if (policies.length === 1) return rootAcl
        throw new CoreError('CORE_PERMISSION_DENIED', 'permission denied')
      }
      const key = JSON.stringify(policies)
      const set = sets.get(key)
      if (set === undefined) return compiledSet(policies, key).then((fresh) => forIdentity(fresh, policies, identity))
      return forIdentity(set, policies, identity)
    },

    exists(name) {
      if (name === 'root' || name === wrappingPolicyName) return true
      const known = rulesByName.get(name)
      return known === undefined ? readRules(name).then((rules) => rules !== undefined) : known !== 'absent'
    },

    async loadDefaults() {
      if ((await storage.get('default')) === undefined) await store('default', defaultPolicyText)
    },

    invalidate: forget,
  }
}

function parseRecord(bytes: Uint8Array): PolicyRecord {
  const record = JSON.parse(jsonText(bytes)) as PolicyRecord
  if (record.v !== 1) throw new CoreError('CORE_INTERNAL', 'policy record of an unknown format')
  return record
}

/** Clients may send the text in base64; no policy text is valid base64 by accident, for it needs spaces, quotes or braces. */
function decodedText(policy: string): string {
  const encoded = policy.length > 0 && policy.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(policy)
  return encoded ? Buffer.from(policy, 'base64').toString('utf8') : policy
}

/** A refused text, as against a parser that failed: the first is the client's business. */
function isRefusal(error: unknown): error is Error {
  if (error instanceof PolicySyntaxError) return true
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined
  return typeof code === 'string' && code.startsWith('HCL_') && code !== 'HCL_PARSER_FAILED'
}
