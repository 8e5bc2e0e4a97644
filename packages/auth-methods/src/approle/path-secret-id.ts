import { randomUUID } from 'node:crypto'
import {
  type BackendContext,
  BackendError,
  type BackendResponse,
  field,
  keyList,
  type Path,
  path,
} from '@lockstep/backend'
import { isSubset } from '../cidr.ts'
import { refuse } from '../token-params.ts'
import { checkCidr } from './path-role.ts'
import type { LoadedRole } from './role.ts'
import type { RoleStore } from './role-store.ts'
import { parseMetadata } from './secret-id-metadata.ts'
import type { SecretIdStore } from './secret-id-store.ts'

const fields = {
  metadata: field.string({ default: '', description: 'JSON object of strings, kept with tokens.' }),
  cidr_list: field.commaStringList({ default: [], description: 'CIDR blocks logins may come from.' }),
  token_bound_cidrs: field.commaStringList({ default: [], description: 'Addresses tokens may be used from.' }),
  num_uses: field.int({ description: "Logins it is good for; default the role's." }),
  ttl: field.duration({ description: "Lifetime; default the role's." }),
}

interface Wishes {
  metadata: string
  cidr_list: string[]
  token_bound_cidrs: string[]
  num_uses: number | undefined
  ttl: number | undefined
}

export function secretIdPaths(
  roles: RoleStore,
  secretIds: SecretIdStore,
  context: Pick<BackendContext, 'now' | 'ttl'>,
): Path[] {
  async function issue(roleName: string, secretId: string, wishes: Wishes): Promise<BackendResponse> {
    const role = await roles.get(roleName.toLowerCase())
    if (role === undefined) return missingRole(roleName)
    if (!role.bindSecretId) refuse('bind_secret_id is not set on the role')
    const numUses = granted('num_uses', wishes.num_uses, 'secret_id_num_uses', role.secretIdNumUses)
    const ttl = granted('ttl', wishes.ttl, 'secret_id_ttl', role.secretIdTtl)
    checkRanges(wishes.cidr_list, role.secretIdBoundCidrs)
    checkRanges(wishes.token_bound_cidrs, role.token.boundCidrs)
    const now = context.now()
    const accessor = randomUUID()
    await secretIds.add(role, secretId, {
      accessor,
      numUses,
      ttl,
      created: now,
      updated: now,
      expires: ttl === 0 ? 0 : now + Math.min(ttl, context.ttl().max) * 1000,
      metadata: parseMetadata(wishes.metadata),
      cidrList: wishes.cidr_list,
      tokenBoundCidrs: wishes.token_bound_cidrs,
    })
    return {
      data: {
        secret_id: secretId,
        secret_id_accessor: accessor,
        secret_id_num_uses: numUses,
        secret_id_ttl: ttl,
      },
    }
  }

  return [
    path('role/:role_name/secret-id', {
      help: 'Makes a secret id; lists the accessors of those there are.',
      fields,
      operations: {
        update: (request) => issue(request.params.role_name, randomUUID(), request.field),
        async list(request) {
          const role = await roles.get(request.params.role_name.toLowerCase())
          if (role === undefined) refuse(`role ${JSON.stringify(request.params.role_name)} does not exist`)
          return keyList(await secretIds.accessors(role, context.now()))
        },
      },
    }),
    path('role/:role_name/custom-secret-id', {
      help: 'Registers a secret id of the caller’s choice.',
      fields: { ...fields, secret_id: field.string({ default: '', description: 'The secret id.' }) },
      operations: {
        update: (request) => {
          const { secret_id } = request.field
          if (secret_id === '') refuse('missing secret_id')
          if (Buffer.byteLength(secret_id) > 4096) refuse('secret_id is longer than 4096 bytes')
          return issue(request.params.role_name, secret_id, request.field)
        },
      },
    }),
  ]
}

/** A 404 that tells the reason, as Vault answers here. */
function missingRole(name: string): never {
  throw new BackendError('BACKEND_NOT_FOUND', `role ${JSON.stringify(name)} does not exist`)
}

function granted(name: string, wish: number | undefined, limitName: string, limit: number): number {
  if (wish === undefined) return limit
  if (wish < 0) refuse(`${name} cannot be negative`)
  if (limit > 0 && (wish === 0 || wish > limit)) {
    refuse(`${name} cannot be ${name === 'ttl' ? 'longer' : 'higher'} than the role's ${limitName}`)
  }
  return wish
}

function checkRanges(ranges: string[], roleRanges: LoadedRole['secretIdBoundCidrs']): void {
  for (const range of ranges) checkCidr(range)
  if (ranges.length === 0 || roleRanges.length === 0 || isSubset(ranges, roleRanges)) return
  const [outer, inner] = [JSON.stringify(roleRanges), JSON.stringify(ranges)]
  refuse(
    `failed to verify subset relationship between CIDR blocks on the role ${outer} and CIDR blocks on the secret ID ${inner}`,
  )
}
