import type { Path } from './path.ts'
import type { BackendResponse } from './types.ts'

/** Vault's help text of one path: a bare JSON body, not the envelope. */
export function pathHelp(path: Path, requestPath: string): BackendResponse {
  const lines = [
    `Request:        ${requestPath}`,
    `Matching Route: ${path.pattern}`,
    '',
    path.help || '<no description>',
  ]
  const fields = Object.entries(path.fields).sort(([a], [b]) => (a < b ? -1 : 1))
  if (fields.length > 0) lines.push('', '## PARAMETERS')
  for (const [name, field] of fields) lines.push('', `    ${name} (${field.type})`, '', `        ${field.description}`)
  const body = { help: lines.join('\n'), see_also: null, openapi: null }
  return { raw: { contentType: 'application/json', body: JSON.stringify(body) } }
}
