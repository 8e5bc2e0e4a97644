import { type BackendRequest, type BackendResponse, field, type Path, path } from '@lockstep/backend'
import { type CoreBackendRequest, CoreError, type TokenEntry } from '../contracts.ts'
import { multierror } from '../requests/request-error.ts'
import type { SystemComponents } from './components.ts'
import { refused } from './mount-input.ts'

const paths = {
  paths: field.commaStringList({ default: [], description: 'Paths to report on.' }),
  path: field.commaStringList({ default: [], description: 'Old name of `paths`.' }),
}

/** What a token may do at given paths. */
export function capabilityPaths({ policies, tokens }: SystemComponents): Path[] {
  async function answer(token: TokenEntry, asked: { paths: string[]; path: string[] }): Promise<BackendResponse> {
    const list = asked.paths.length > 0 ? asked.paths : asked.path
    if (list.length === 0) throw refused('paths must be supplied')
    const acl = await policies.acl(token.policies)
    const data: Record<string, string[]> = {}
    for (const name of list) data[name] = acl.capabilities(name)
    if (list.length === 1) data.capabilities = data[list[0]!]!
    return { data }
  }

  return [
    path('capabilities-self', {
      fields: { ...paths, token: field.string({ default: '' }) },
      operations: {
        update: (request) => {
          const { token } = request as BackendRequest as CoreBackendRequest
          if (token === undefined) throw new CoreError('CORE_PERMISSION_DENIED', 'permission denied')
          return answer(token, request.field)
        },
      },
      help: "The calling token's capabilities.",
    }),
    path('capabilities', {
      fields: { ...paths, token: field.string({ default: '', description: 'The token to report on.' }) },
      operations: {
        update: async ({ field }) => {
          if (field.token === '') throw refused('token must be supplied')
          const token = await tokens.lookup(field.token)
          if (token === undefined) throw refused(multierror('invalid token'))
          return answer(token, field)
        },
      },
      help: "A given token's capabilities.",
    }),
    path('capabilities-accessor', {
      fields: { ...paths, accessor: field.string({ default: '', description: 'Accessor of the token.' }) },
      operations: {
        update: async ({ field }) => {
          const token = field.accessor === '' ? undefined : await tokens.lookupAccessor(field.accessor)
          if (token === undefined) throw refused(multierror('invalid accessor'))
          return answer(token, field)
        },
      },
      help: "The capabilities of an accessor's token.",
    }),
  ]
}
