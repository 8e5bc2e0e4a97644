import { BackendError, type BackendStorage, jsonText } from '@lockstep/backend'
import type { RoleStore } from './role-store.ts'
import { localFolders, type SecretId, sharedFolders } from './secret-id-store.ts'

export interface Tidy {
  /** Removes what no login can use any more. Does nothing while a run is under way: then false. */
  run(): Promise<boolean>
  /** Runs when the last run is an hour ago. */
  periodic(): Promise<void>
}

const intervalMs = 3_600_000

/** Expired secret ids, ids of roles that are gone, and accessors without an id. */
export function tidy(storage: BackendStorage, roles: RoleStore, now: () => number): Tidy {
  let running = false
  let last = now()

  async function sweep(place: typeof sharedFolders): Promise<void> {
    const known = new Set<string>()
    for (const name of await storage.list('role/')) {
      const role = await roles.get(name)
      if (role !== undefined) known.add(role.folder)
    }
    const useless: string[] = []
    for await (const [key, bytes] of storage.scan({ prefix: place.secretIds })) {
      const folder = key.slice(place.secretIds.length, key.lastIndexOf('/') + 1)
      const { expires } = JSON.parse(jsonText(bytes)) as SecretId
      if (!known.has(folder) || (expires !== 0 && expires <= now())) useless.push(key)
    }
    for (const key of useless) await storage.delete(key)

    for await (const [key, bytes] of storage.scan({ prefix: place.accessors })) {
      if ((await storage.get(jsonText(bytes))) === undefined) await storage.delete(key)
    }
  }

  const self: Tidy = {
    async run() {
      if (running) return false
      running = true
      last = now()
      try {
        for (const place of [sharedFolders, localFolders]) await unlessReadOnly(sweep(place))
        return true
      } finally {
        running = false
      }
    },
    async periodic() {
      if (now() - last >= intervalMs) await self.run()
    },
  }
  return self
}

// A performance secondary tidies its local ids; the shared ones are the primary's business.
async function unlessReadOnly(work: Promise<void>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (!(error instanceof BackendError) || error.code !== 'BACKEND_READ_ONLY') throw error
  }
}
