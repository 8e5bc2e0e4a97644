import { type BackendStorage, checkedName, readJson, storedCache, type Transaction, writeJson } from '@lockstep/backend'
import { refuse, type TokenParams } from '../token-params.ts'

/** A user, JSON under `user/<lower-case name>`. */
export interface User {
  /** See password.ts. */
  passwordHash: string
  token: TokenParams
}

export interface UserStore {
  get(name: string): Promise<User | undefined> | User
  names(): Promise<string[]>
  /** `change` gets undefined for a new user. */
  write(name: string, change: (user: User | undefined) => User): Promise<void>
  delete(name: string): Promise<void>
  invalidate(key: string): void
}

const folder = 'user/'

export function userStore(storage: BackendStorage): UserStore {
  const cache = storedCache<User>()
  const load = (name: string) => readJson<User>(storage, folder + name)
  return {
    get: (name) => cache.get(name, load),
    names: () => storage.list(folder),
    async write(name, change) {
      checkedName(name)
      await storage.transaction(async (transaction: Transaction) => {
        await writeJson(transaction, folder + name, change(await readJson<User>(transaction, folder + name)))
      })
      cache.invalidate(name)
    },
    async delete(name) {
      await storage.delete(folder + name)
      cache.invalidate(name)
    },
    invalidate(key) {
      if (key.startsWith(folder)) cache.invalidate(key.slice(folder.length))
    },
  }
}

export function existing(user: User | undefined): User {
  return user ?? refuse('username does not exist')
}
