/** The `auth/token/` mount. */
import { type Backend, type BackendRequest, field, path, pathBackend } from '@lockstep/backend'
import { type CoreBackendRequest, type CoreBackendResponse, CoreError, type TokenEntry } from '../../contracts.ts'
import { multierror } from '../../requests/request-error.ts'
import { authBlock } from '../auth-block.ts'
import { invalidRequest, type TokenBackendComponents } from './components.ts'
import { createToken, creationFields } from './creation.ts'
import { rolePaths } from './role-paths.ts'
import { tokenData } from './token-data.ts'
import { readRole } from './token-role.ts'

const tokenField = { token: field.string({ default: '' }) }
const accessorField = { accessor: field.string({ default: '' }) }
const incrementField = { increment: field.duration({ default: 0 }) }

export function tokenBackend(components: TokenBackendComponents): Backend {
  const { tokens, leases, clock, log } = components
  let tidying = false

  async function show(entry: TokenEntry, hideId = false): Promise<CoreBackendResponse> {
    const data = tokenData(entry, await leases.tokenLease(entry), clock.now())
    return { data: hideId ? { ...data, id: '' } : data }
  }

  async function lookup(request: BackendRequest, id: string): Promise<CoreBackendResponse> {
    const entry = id === '' ? callerEntry(request) : await tokens.lookup(id)
    if (entry === undefined) throw new CoreError('CORE_PERMISSION_DENIED', 'bad token')
    return show(entry)
  }

  async function renew(entry: TokenEntry, increment: number, hideId = false): Promise<CoreBackendResponse> {
    const { lease, warnings } = await leases.renewToken(entry, increment)
    const seconds = Math.round((lease.expireTime - lease.lastRenewal) / 1000)
    const auth = authBlock(entry, seconds, lease.renewable)
    return {
      authBlock: hideId ? { ...auth, client_token: '' } : auth,
      ...(warnings.length > 0 && { warnings }),
    }
  }

  async function byAccessor(accessor: string): Promise<TokenEntry> {
    if (accessor === '') throw invalidRequest(multierror('missing accessor'))
    const entry = await tokens.lookupAccessor(accessor)
    if (entry === undefined) throw invalidRequest(multierror('invalid accessor'))
    return entry
  }

  async function revocable(id: string): Promise<TokenEntry | undefined> {
    if (id === '') throw invalidRequest('missing token ID')
    const entry = await tokens.lookup(id)
    if (entry?.type === 'batch') throw invalidRequest('batch tokens cannot be revoked')
    return entry
  }

  /** A renewal of a token made here: the role's present rules apply, never longer than the token's own limit. */
  async function renewedGrant(request: BackendRequest, roleName?: string): Promise<CoreBackendResponse> {
    const { auth } = request
    if (auth === undefined) throw invalidRequest('request auth is nil')
    if (roleName === undefined) return { auth }
    const role = await readRole(components.storage, roleName)
    if (role === undefined) {
      throw invalidRequest(`original token role ${JSON.stringify(roleName)} could not be found, not renewing`)
    }
    const limits = [auth.explicitMaxTtl, role.explicitMaxTtl].filter((limit) => limit > 0)
    return { auth: { ...auth, period: role.period, explicitMaxTtl: limits.length > 0 ? Math.min(...limits) : 0 } }
  }

  return pathBackend({
    type: 'token',
    special: { sudo: ['revoke-orphan*', 'accessors*'] },
    paths: [
      path('create', {
        help: 'Creates a token as a child of the calling one.',
        fields: creationFields,
        operations: {
          update: (request) => createToken(components, core(request), request.field, { orphan: false }),
          renew: (request) => renewedGrant(request),
        },
      }),
      path('create-orphan', {
        help: 'Creates a token without a parent.',
        fields: creationFields,
        operations: {
          update: (request) => createToken(components, core(request), request.field, { orphan: true }),
          renew: (request) => renewedGrant(request),
        },
      }),
      path('create/:role_name', {
        help: 'Creates a token under the rules of a role.',
        fields: creationFields,
        operations: {
          update: (request) =>
            createToken(components, core(request), request.field, {
              orphan: false,
              roleName: request.params.role_name,
            }),
          renew: (request) => renewedGrant(request, request.params.role_name),
        },
      }),
      path('create/:role_name/:suffix', {
        operations: { renew: (request) => renewedGrant(request, request.params.role_name) },
      }),
      path('lookup', {
        help: 'Shows a token; the calling one when none is named.',
        fields: tokenField,
        operations: {
          read: (request) => lookup(request, request.field.token),
          update: (request) => lookup(request, request.field.token),
        },
      }),
      path('lookup-self', {
        help: 'Shows the calling token.',
        operations: {
          read: (request) => lookup(request, ''),
          update: (request) => lookup(request, ''),
        },
      }),
      path('lookup-accessor', {
        help: 'Shows the token of an accessor, without its id.',
        fields: accessorField,
        operations: { update: async ({ field }) => show(await byAccessor(field.accessor), true) },
      }),
      path('renew', {
        help: 'Renews a token.',
        fields: { ...tokenField, ...incrementField },
        operations: {
          update: async ({ field }) => {
            if (field.token === '') throw invalidRequest('missing token ID')
            const entry = await tokens.lookup(field.token)
            if (entry === undefined) throw invalidRequest('token not found')
            return renew(entry, field.increment)
          },
        },
      }),
      path('renew-self', {
        help: 'Renews the calling token.',
        fields: incrementField,
        operations: { update: async (request) => renew(callerEntry(request), request.field.increment) },
      }),
      path('renew-accessor', {
        help: 'Renews the token of an accessor.',
        fields: { ...accessorField, ...incrementField },
        operations: { update: async ({ field }) => renew(await byAccessor(field.accessor), field.increment, true) },
      }),
      path('revoke', {
        help: 'Revokes a token and all its children.',
        fields: tokenField,
        operations: {
          update: async ({ field }) => {
            await revocable(field.token)
            await tokens.revoke(field.token)
            return undefined
          },
        },
      }),
      path('revoke-self', {
        help: 'Revokes the calling token and all its children.',
        operations: {
          update: async (request) => {
            const entry = callerEntry(request)
            await revocable(entry.id)
            await tokens.revoke(entry.id)
            return undefined
          },
        },
      }),
      path('revoke-accessor', {
        help: 'Revokes the token of an accessor and all its children.',
        fields: accessorField,
        operations: {
          update: async ({ field }) => {
            if (field.accessor === '') throw invalidRequest(multierror('missing accessor'))
            const entry = await tokens.lookupAccessor(field.accessor)
            if (entry === undefined) return { warnings: ['No token found with this accessor'] }
            await tokens.revoke(entry.id)
            return undefined
          },
        },
      }),
      path('revoke-orphan', {
        help: 'Revokes a token; its children live on without a parent.',
        fields: tokenField,
        operations: {
          update: async ({ field }) => {
            if ((await revocable(field.token)) === undefined) throw invalidRequest('token to revoke not found')
            await tokens.revokeOrphan(field.token)
            return undefined
          },
        },
      }),
      path('accessors', {
        help: 'Lists the accessors of all service tokens.',
        operations: { list: async () => ({ data: { keys: await tokens.accessors() } }) },
      }),
      path('tidy', {
        help: 'Removes what interrupted operations left behind.',
        operations: {
          update: () => {
            if (tidying) return { warnings: ['Tidy operation already in progress.'] }
            tidying = true
            void tokens
              .tidy()
              .catch((error: Error) => log.error('tidying tokens failed', { error: error.message }))
              .finally(() => {
                tidying = false
              })
            const started =
              "Tidy operation successfully started. Any information from the operation will be printed to Lockstep's server logs."
            return { status: 202, warnings: [started] }
          },
        },
      }),
      ...rolePaths(components),
    ],
  })
}

function core(request: BackendRequest): CoreBackendRequest {
  return request as CoreBackendRequest
}

function callerEntry(request: BackendRequest): TokenEntry {
  const { token } = core(request)
  if (token === undefined) throw new CoreError('CORE_PERMISSION_DENIED', 'permission denied')
  return token
}
