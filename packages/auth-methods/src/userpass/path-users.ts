import { field, keyList, type Path, path } from '@lockstep/backend'
import {
  changedTokenParams,
  type LegacyValues,
  newTokenParams,
  refuse,
  shownTokenParams,
  tokenFields,
} from '../token-params.ts'
import { hashPassword, isPasswordHash, maxPasswordLength } from './password.ts'
import { existing, type UserStore } from './user-store.ts'

const passwordFields = {
  password: field.string({ description: 'The password.' }),
  password_hash: field.string({ description: 'Instead: an scrypt hash in PHC text ($scrypt$ln=…).' }),
}
const legacyFields = {
  policies: field.commaStringList({ description: 'Older name of token_policies.' }),
  ttl: field.duration({ description: 'Older name of token_ttl.' }),
  max_ttl: field.duration({ description: 'Older name of token_max_ttl.' }),
  bound_cidrs: field.commaStringList({ description: 'Older name of token_bound_cidrs.' }),
}
interface LegacyFieldValues {
  policies?: string[] | undefined
  ttl?: number | undefined
  max_ttl?: number | undefined
  bound_cidrs?: string[] | undefined
}

export function userPaths(users: UserStore): Path[] {
  return [
    path('users', {
      help: 'Lists the users.',
      operations: { list: async () => keyList(await users.names()) },
    }),
    path('users/:username', {
      help: 'Creates, changes, shows or deletes a user. Names are case-insensitive.',
      fields: { ...passwordFields, ...tokenFields, ...legacyFields },
      exists: async (request) => (await users.get(request.params.username.toLowerCase())) !== undefined,
      operations: {
        async read(request) {
          const user = await users.get(request.params.username.toLowerCase())
          return user && { data: shownTokenParams(user.token, legacyValues({})) }
        },
        async update(request) {
          const passwordHash = await givenHash(request.field)
          await users.write(request.params.username.toLowerCase(), (before) => {
            const hash = passwordHash ?? before?.passwordHash ?? missingPassword()
            const legacy = legacyValues(request.field)
            const token = changedTokenParams(before?.token ?? newTokenParams(), request.field, legacy)
            return { passwordHash: hash, token }
          })
          return undefined
        },
        async delete(request) {
          await users.delete(request.params.username.toLowerCase())
          return undefined
        },
      },
    }),
    path('users/:username/password', {
      help: "Sets a user's password.",
      fields: passwordFields,
      operations: {
        async update(request) {
          const passwordHash = (await givenHash(request.field)) ?? missingPassword()
          await users.write(request.params.username.toLowerCase(), (user) => ({ ...existing(user), passwordHash }))
          return undefined
        },
      },
    }),
    path('users/:username/policies', {
      help: "Sets a user's policies.",
      fields: { policies: legacyFields.policies, token_policies: tokenFields.token_policies },
      operations: {
        async update(request) {
          await users.write(request.params.username.toLowerCase(), (user) => {
            const before = existing(user)
            return { ...before, token: changedTokenParams(before.token, request.field, legacyValues(request.field)) }
          })
          return undefined
        },
      },
    }),
  ]
}

function legacyValues(given: LegacyFieldValues): LegacyValues {
  return {
    policies: {
      target: 'policies',
      token: 'token_policies',
      value: given.policies && [...new Set(given.policies.map((policy) => policy.toLowerCase()))].sort(),
    },
    ttl: { target: 'ttl', token: 'token_ttl', value: given.ttl },
    max_ttl: { target: 'maxTtl', token: 'token_max_ttl', value: given.max_ttl },
    bound_cidrs: { target: 'boundCidrs', token: 'token_bound_cidrs', value: given.bound_cidrs },
  }
}

async function givenHash(given: { password: string | undefined; password_hash: string | undefined }) {
  const password = given.password || undefined
  const hash = given.password_hash || undefined
  if (password !== undefined && hash !== undefined) refuse('only one of password or password_hash may be provided')
  if (hash !== undefined && !isPasswordHash(hash)) refuse('password_hash is not a valid scrypt hash in PHC text')
  if (password === undefined) return hash
  if (Buffer.byteLength(password) > maxPasswordLength) refuse(`password is longer than ${maxPasswordLength} bytes`)
  return hashPassword(password)
}

function missingPassword(): never {
  return refuse('must provide either password or password_hash')
}
