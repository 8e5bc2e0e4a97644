/**
 * Roles in `role/<name>`, and `role_id/<salted role id>` to find a role by its id.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { type BackendStorage, jsonText, readJson, storedCache, type Transaction, writeJson } from '@lockstep/backend'
import { newTokenParams, refuse } from '../token-params.ts'
import type { LoadedRole, Role } from './role.ts'
import { hmac, type Salt } from './salt.ts'

export interface RoleStore {
  get(name: string): Promise<LoadedRole | undefined> | LoadedRole
  byRoleId(roleId: string): Promise<LoadedRole | undefined>
  names(): Promise<string[]>
  /** `change` edits the role in place; a new one unless `mustExist`. Resolves false when it had to exist and does not. */
  write(name: string, change: (role: Role, isNew: boolean) => void, options?: { mustExist: boolean }): Promise<boolean>
  /** Removes the role, not its secret ids. */
  delete(name: string): Promise<LoadedRole | undefined>
  invalidate(key: string): void
}

const roleFolder = 'role/'
const roleIdFolder = 'role_id/'

export function roleStore(storage: BackendStorage, salt: Salt): RoleStore {
  const roles = storedCache<LoadedRole>()
  const names = storedCache<string>()
  const loadRole = async (name: string) => {
    const role = await readJson<Role>(storage, roleFolder + name)
    return role && loaded(role)
  }
  const loadName = async (hash: string) => {
    const bytes = await storage.get(roleIdFolder + hash)
    return bytes && jsonText(bytes)
  }

  const store: RoleStore = {
    get: (name) => roles.get(name, loadRole),

    async byRoleId(roleId) {
      const hash = await salt.hash(roleId)
      const name = hash && (names.peek(hash) ?? (await names.get(hash, loadName)))
      const role = name ? (roles.peek(name) ?? (await roles.get(name, loadRole))) : undefined
      // The index and the role are two records: a role id just replaced must not log in.
      return role?.roleId === roleId ? role : undefined
    },

    names: () => storage.list(roleFolder),

    async write(name, change, options) {
      let touched: string[] = []
      const written = await storage.transaction(async (transaction) => {
        const hash = await salt.ensure(transaction)
        const stored = await readJson<Role>(transaction, roleFolder + name)
        if (stored === undefined && options?.mustExist) return false
        const role = stored ?? newRole(name)
        const formerId = role.roleId
        change(role, stored === undefined)
        if (stored === undefined || role.roleId !== formerId) {
          await claimRoleId(transaction, hash(role.roleId), name)
          if (stored !== undefined) await transaction.delete(roleIdFolder + hash(formerId))
          touched = [hash(role.roleId), hash(formerId)]
        }
        await writeJson(transaction, roleFolder + name, role)
        return true
      })
      roles.invalidate(name)
      for (const hash of touched) names.invalidate(hash)
      return written
    },

    async delete(name) {
      let indexHash = ''
      const role = await storage.transaction(async (transaction) => {
        const stored = await readJson<Role>(transaction, roleFolder + name)
        if (stored === undefined) return undefined
        indexHash = (await salt.ensure(transaction))(stored.roleId)
        await transaction.delete(roleIdFolder + indexHash)
        await transaction.delete(roleFolder + name)
        return stored
      })
      roles.invalidate(name)
      names.invalidate(indexHash)
      return role && loaded(role)
    },

    invalidate(key) {
      if (key.startsWith(roleFolder)) roles.invalidate(key.slice(roleFolder.length))
      else if (key.startsWith(roleIdFolder)) names.invalidate(key.slice(roleIdFolder.length))
    },
  }
  return store
}

async function claimRoleId(transaction: Transaction, hash: string, name: string): Promise<void> {
  const owner = await transaction.get(roleIdFolder + hash)
  if (owner !== undefined && jsonText(owner) !== name) refuse('role_id already in use')
  await transaction.put(roleIdFolder + hash, Buffer.from(name))
}

function newRole(name: string): Role {
  return {
    name,
    roleId: randomUUID(),
    hmacKey: randomBytes(32).toString('base64'),
    bindSecretId: true,
    localSecretIds: false,
    secretIdBoundCidrs: [],
    secretIdNumUses: 0,
    secretIdTtl: 0,
    token: newTokenParams(),
  }
}

function loaded(role: Role): LoadedRole {
  return { ...role, folder: `${hmac(role.hmacKey, role.name)}/` }
}
