/**
 * Secret ids at rest, never in the clear:
 *
 * | key | value |
 * |---|---|
 * | `secret_id/<HMAC of role name>/<HMAC of secret id>` | `SecretId` |
 * | `accessor/<salted accessor>` | the key above |
 *
 * HMACs are keyed by the role. Roles with local secret ids use `secret_id_local/` and `accessor_local/`.
 */
import { type BackendStorage, jsonText, readJson, type Transaction, writeJson } from '@lockstep/backend'
import { refuse } from '../token-params.ts'
import type { LoadedRole } from './role.ts'
import { hmac, type Salt } from './salt.ts'

/** Times in milliseconds. */
export interface SecretId {
  accessor: string
  /** Uses left; 0 = any number. */
  numUses: number
  /** Seconds as granted, 0 = for ever. */
  ttl: number
  created: number
  updated: number
  /** 0 = never. */
  expires: number
  metadata: Record<string, string>
  cidrList: string[]
  tokenBoundCidrs: string[]
}

export interface SecretIdStore {
  add(role: LoadedRole, secretId: string, entry: SecretId): Promise<void>
  find(role: LoadedRole, secretId: string, now: number): Promise<SecretId | undefined>
  /** Takes one use off; false when another login took the last one. */
  use(role: LoadedRole, secretId: string, now: number): Promise<boolean>
  findByAccessor(role: LoadedRole, accessor: string, now: number): Promise<SecretId | undefined>
  accessors(role: LoadedRole, now: number): Promise<string[]>
  remove(role: LoadedRole, secretId: string): Promise<void>
  /** False when the accessor is unknown. */
  removeByAccessor(role: LoadedRole, accessor: string): Promise<boolean>
  /** Removes every id of a role that is gone. */
  removeAll(role: LoadedRole): Promise<void>
}

export const sharedFolders = { secretIds: 'secret_id/', accessors: 'accessor/' }
export const localFolders = { secretIds: 'secret_id_local/', accessors: 'accessor_local/' }

export function secretIdStore(storage: BackendStorage, salt: Salt): SecretIdStore {
  const keyOf = (role: LoadedRole, secretId: string) =>
    folders(role).secretIds + role.folder + hmac(role.hmacKey, secretId)

  async function keyByAccessor(role: LoadedRole, accessor: string): Promise<string | undefined> {
    const hash = await salt.hash(accessor)
    const bytes = hash && (await storage.get(folders(role).accessors + hash))
    const key = bytes && jsonText(bytes)
    // An accessor of another role is none of this role.
    return key?.startsWith(folders(role).secretIds + role.folder) ? key : undefined
  }

  async function removeKey(role: LoadedRole, key: string): Promise<void> {
    await storage.transaction(async (transaction) => {
      const entry = await readJson<SecretId>(transaction, key)
      if (entry !== undefined) await removeEntry(transaction, role, key, entry)
    })
  }

  async function removeEntry(transaction: Transaction, role: LoadedRole, key: string, entry: SecretId): Promise<void> {
    const hash = await salt.ensure(transaction)
    await transaction.delete(key)
    await transaction.delete(folders(role).accessors + hash(entry.accessor))
  }

  const store: SecretIdStore = {
    async add(role, secretId, entry) {
      const key = keyOf(role, secretId)
      await storage.transaction(async (transaction) => {
        const hash = await salt.ensure(transaction)
        if ((await transaction.get(key)) !== undefined)
          refuse('failed to store secret_id: SecretID is already registered')
        await writeJson(transaction, key, entry)
        await transaction.put(folders(role).accessors + hash(entry.accessor), Buffer.from(key))
      })
    },

    async find(role, secretId, now) {
      return live(await readJson<SecretId>(storage, keyOf(role, secretId)), now)
    },

    async use(role, secretId, now) {
      const key = keyOf(role, secretId)
      return storage.transaction(async (transaction) => {
        const entry = live(await readJson<SecretId>(transaction, key), now)
        if (entry === undefined) return false
        if (entry.numUses === 1) await removeEntry(transaction, role, key, entry)
        else if (entry.numUses > 1) {
          await writeJson(transaction, key, { ...entry, numUses: entry.numUses - 1, updated: now })
        }
        return true
      })
    },

    async findByAccessor(role, accessor, now) {
      const key = await keyByAccessor(role, accessor)
      return key === undefined ? undefined : live(await readJson<SecretId>(storage, key), now)
    },

    async accessors(role, now) {
      const accessors: string[] = []
      for await (const [, bytes] of storage.scan({ prefix: folders(role).secretIds + role.folder })) {
        const entry = live(JSON.parse(jsonText(bytes)) as SecretId, now)
        if (entry !== undefined) accessors.push(entry.accessor)
      }
      return accessors.sort()
    },

    remove: (role, secretId) => removeKey(role, keyOf(role, secretId)),

    async removeByAccessor(role, accessor) {
      const key = await keyByAccessor(role, accessor)
      if (key === undefined) return false
      await removeKey(role, key)
      return true
    },

    async removeAll(role) {
      const prefix = folders(role).secretIds + role.folder
      for (const name of await storage.list(prefix)) await removeKey(role, prefix + name)
    },
  }
  return store
}

export function folders(role: LoadedRole): typeof sharedFolders {
  return role.localSecretIds ? localFolders : sharedFolders
}

function live(entry: SecretId | undefined, now: number): SecretId | undefined {
  return entry === undefined || (entry.expires !== 0 && entry.expires <= now) ? undefined : entry
}
