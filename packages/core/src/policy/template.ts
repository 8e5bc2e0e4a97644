/** Gives the text of a template expression such as `identity.entity.id`, or undefined when the caller has none. */
export type ResolveTemplate = (expression: string) => string | undefined

const template = /\{\{([^{}]*)\}\}/g

export function hasTemplate(path: string): boolean {
  return path.includes('{{')
}

/** Every `{{` is closed by a `}}` before the next one opens. */
export function templatesBalanced(path: string): boolean {
  const [head, ...openings] = path.split('{{')
  if (head!.includes('}}')) return false
  return openings.every((text) => text.split('}}').length === 2)
}

/**
 * The path with its templates replaced; undefined when one cannot be resolved. A value that would change what the pattern
 * matches (a wildcard, a slash, another template) counts as unresolved: names come from users, rules from operators.
 */
export function resolveTemplates(path: string, resolve: ResolveTemplate): string | undefined {
  let complete = true
  const resolved = path.replace(template, (_, expression: string) => {
    const value = resolve(expression.trim())
    if (value === undefined || value === '' || /[*+/{}]/.test(value)) complete = false
    return value ?? ''
  })
  return complete && !hasTemplate(resolved) ? resolved : undefined
}
