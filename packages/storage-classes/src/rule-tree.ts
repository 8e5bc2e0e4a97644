/** The declared rules as a tree of path segments: a match walks as deep as the rules go, however many there are. */
import { StorageClassError } from './errors.ts'
import { type ClassRule, patternOf } from './rule.ts'

export interface RuleMatch {
  rule: ClassRule
  /** Index in the key right after the rule's prefix. */
  end: number
}

export interface RuleTree {
  /** The longest rule for `key` from index `start` on. */
  match(key: string, start: number): RuleMatch | undefined
  /** Whether some rule is about keys in this folder, given with its trailing slash from index `start` on. */
  covers(folder: string, start: number): boolean
}

interface Folder {
  /** For the folder with everything below it. */
  rule: ClassRule | undefined
  /** By last segment. */
  readonly exact: Map<string, ClassRule>
  /** Prefixes that end within a segment, longest first. */
  readonly partial: { text: string; rule: ClassRule }[]
  readonly folders: Map<string, Folder>
}

export function ruleTree(rules: readonly ClassRule[]): RuleTree {
  const root = emptyFolder()
  const seen = new Set<string>()
  for (const rule of rules) {
    const pattern = patternOf(rule)
    if (seen.has(pattern)) throw invalid(rule, 'is declared twice')
    seen.add(pattern)
    insert(root, rule)
  }
  return {
    match: (key, start) => match(root, key, start),
    covers: (folder, start) => match(root, folder, start) !== undefined || find(root, folder, start) !== undefined,
  }
}

function find(root: Folder, path: string, start: number): Folder | undefined {
  let folder: Folder | undefined = root
  for (const segment of path.slice(start, -1).split('/')) folder = folder?.folders.get(segment)
  return folder
}

function match(root: Folder, key: string, start: number): RuleMatch | undefined {
  let folder = root
  let position = start
  let rule: ClassRule | undefined
  let end = start
  for (;;) {
    if (folder.rule !== undefined) {
      rule = folder.rule
      end = position
    }
    for (const { text, rule: partialRule } of folder.partial) {
      if (!key.startsWith(text, position)) continue
      rule = partialRule
      end = position + text.length
      break
    }
    const slash = key.indexOf('/', position)
    if (slash === -1) {
      const exact = folder.exact.get(key.slice(position))
      if (exact !== undefined) return { rule: exact, end: key.length }
      break
    }
    const next = folder.folders.get(key.slice(position, slash))
    if (next === undefined) break
    folder = next
    position = slash + 1
  }
  return rule === undefined ? undefined : { rule, end }
}

function insert(root: Folder, rule: ClassRule): void {
  const path = 'exact' in rule ? rule.exact : rule.prefix
  const segments = path.split('/')
  const last = segments.pop()!
  if (path === '' || segments.includes('')) throw invalid(rule, 'has an empty segment')
  if (rule.mountFrom !== undefined && (last !== '' || 'exact' in rule || rule.class === 'ignored')) {
    throw invalid(rule, 'can only take a mount from a replicated or local prefix that ends in a slash')
  }
  let folder = root
  for (const segment of segments) {
    const next = folder.folders.get(segment) ?? emptyFolder()
    folder.folders.set(segment, next)
    folder = next
  }
  if ('exact' in rule) {
    if (last === '') throw invalid(rule, 'names a folder; make it a prefix')
    folder.exact.set(last, rule)
  } else if (last === '') {
    folder.rule = rule
  } else {
    folder.partial.push({ text: last, rule })
    folder.partial.sort((a, b) => b.text.length - a.text.length)
  }
}

function emptyFolder(): Folder {
  return { rule: undefined, exact: new Map(), partial: [], folders: new Map() }
}

function invalid(rule: ClassRule, problem: string): StorageClassError {
  return new StorageClassError('STORAGE_CLASS_INVALID_RULE', `the rule ${patternOf(rule)} ${problem}`)
}
