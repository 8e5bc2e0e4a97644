/** Lists of policy names as tokens carry them. */

/** Trimmed, lower case, no empty names, sorted, each once; `["root"]` alone where root is among them. */
export function sanitizedPolicies(policies: readonly string[], addDefault: boolean): string[] {
  const names = new Set(policies.map((name) => name.trim().toLowerCase()).filter((name) => name !== ''))
  if (names.has('root')) return ['root']
  if (addDefault) names.add('default')
  return [...names].sort()
}

/** `*` stands for any text, anywhere in the pattern. */
export function matchesAnyGlob(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => globMatches(pattern, name))
}

function globMatches(pattern: string, text: string): boolean {
  const parts = pattern.split('*')
  const first = parts.shift()!
  const last = parts.pop()
  if (last === undefined) return pattern === text
  if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false
  let position = first.length
  for (const part of parts) {
    const found = text.indexOf(part, position)
    if (found === -1) return false
    position = found + part.length
  }
  return position <= text.length - last.length
}

/** Go's `%q` of a list of strings. */
export function quotedList(names: readonly string[]): string {
  return `[${names.map((name) => JSON.stringify(name)).join(' ')}]`
}
