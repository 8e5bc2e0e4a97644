import { type BackendRequest, field, type Path, path } from '@lockstep/backend'
import { type CoreBackendRequest, type CoreBackendResponse, CoreError } from '../contracts.ts'
import type { SystemComponents } from './components.ts'
import { refused } from './mount-input.ts'

const tokenField = {
  token: field.string({ default: '', description: 'The wrapping token. Default: the token header.' }),
}

export function wrappingPaths({ wrapping }: SystemComponents): Path[] {
  /** The wrapping token of the body or, failing that, of the token header. */
  function wrappingToken(request: BackendRequest & { field: { token: string } }): string {
    const token = request.field.token || (request as BackendRequest as CoreBackendRequest).source.clientToken
    if (token === '') {
      throw new CoreError('CORE_PERMISSION_DENIED', 'error validating wrapping token: token is empty')
    }
    return token
  }

  return [
    path('wrapping/wrap', {
      operations: {
        update: (request) => {
          if (request.wrapTtl <= 0) throw refused('endpoint requires response wrapping to be used')
          return { data: request.data }
        },
      },
      help: 'Wrap arbitrary data in a single-use token.',
    }),
    path('wrapping/lookup', {
      fields: tokenField,
      operations: {
        update: async (request) => ({ data: { ...(await wrapping.lookup(wrappingToken(request))) } }),
        read: async (request) => ({ data: { ...(await wrapping.lookup(wrappingToken(request))) } }),
      },
      help: 'When and where a wrapping token was made.',
    }),
    path('wrapping/unwrap', {
      fields: tokenField,
      operations: {
        update: async (request) => ({
          raw: { contentType: 'application/json', body: await wrapping.unwrap(wrappingToken(request)) },
        }),
      },
      help: 'The wrapped response, once.',
    }),
    path('wrapping/rewrap', {
      fields: tokenField,
      operations: {
        update: async (request): Promise<CoreBackendResponse> => ({
          wrapInfo: await wrapping.rewrap(wrappingToken(request)),
        }),
      },
      help: 'Move a wrapped response behind a new token with a fresh lifetime.',
    }),
    path('wrapping/pubkey', {
      operations: { read: async () => ({ data: { public_key: await wrapping.publicKeyPem() } }) },
      help: 'The key that JWT wrapping tokens are signed with.',
    }),
  ]
}
