/**
 * What a migration leaves in both storages while it runs, outside of the generations: no server starts on the source, which would
 * write what is not copied any more, nor on the destination, which has not got everything yet.
 */
import type { Store } from '@lockstep/storage'
import { CoreError } from '../contracts.ts'

export interface MigrationRecord {
  role: 'source' | 'destination'
  /** The same on both ends. */
  id: string
  /** ms since the epoch. */
  startedAt: number
}

export const MIGRATION = 'migration'

export async function readMigration(store: Pick<Store, 'get'>): Promise<MigrationRecord | undefined> {
  const stored = await store.get(MIGRATION)
  if (stored === undefined) return undefined
  try {
    const { role, id, startedAt } = JSON.parse(Buffer.from(stored).toString()) as Partial<MigrationRecord>
    if ((role === 'source' || role === 'destination') && typeof id === 'string' && Number.isSafeInteger(startedAt)) {
      return { role, id, startedAt: startedAt! }
    }
  } catch {
    // As below.
  }
  throw new CoreError('CORE_INTERNAL', `stored record ${MIGRATION} is malformed`)
}

export function writeMigration(store: Pick<Store, 'put'>, record: MigrationRecord): Promise<void> {
  return store.put(MIGRATION, Buffer.from(JSON.stringify(record)))
}

export function removeMigration(store: Pick<Store, 'delete'>): Promise<void> {
  return store.delete(MIGRATION)
}

/** For a server that starts. Rejects with CORE_UNAVAILABLE. */
export async function assertNotMigrating(store: Pick<Store, 'get'>): Promise<void> {
  const found = await readMigration(store)
  if (found === undefined) return
  const since = new Date(found.startedAt).toISOString()
  throw new CoreError(
    'CORE_UNAVAILABLE',
    found.role === 'source'
      ? `storage migration in progress (started: ${since}); if none is running, "lockstep operator migrate -reset" removes the lock`
      : `this storage is the destination of a migration that has not ended (started: ${since}): go on with "lockstep operator migrate -start=KEY" or start over`,
  )
}
