import type { MountEntry, MountTable } from '../contracts.ts'
import { builtinMounts, newBuiltin } from './builtin-mounts.ts'
import { type MountChanges, mountChanges } from './mount-changes.ts'
import { type MountTableComponents, message, mountLife } from './mount-life.ts'
import { decodeRecord, recordFolders, recordKey } from './mount-record.ts'
import { mountRemoval } from './mount-removal.ts'
import { mountSync } from './mount-sync.ts'
import { isReadOnly } from './read-only.ts'

/** The mounts of one cluster. See `MountTable`; tainted mounts are routed too, so that their leases can be revoked. */
export interface Mounts extends MountTable, Pick<MountChanges, 'checkRemount'> {
  /** Runs `Backend.periodic` of every mount whose data this node may write. One backend's failure does not stop the others. */
  periodic(): Promise<void>
  /** Keys of request and response data that a mount says are not secret, for the audit broker. */
  nonHmacKeys(mountAccessor: string): { request: readonly string[]; response: readonly string[] }
}

const noKeys: readonly string[] = []

/**
 * The mount table. One record per mount in storage; the class of a mount's keys is registered before its record is committed and
 * the registration is undone when the commit fails.
 */
export function mountTable(components: MountTableComponents): Mounts {
  const life = mountLife(components)
  const { map, queue } = life
  const { storage, log, random } = components
  const removal = mountRemoval(life)
  const changes = mountChanges(life, removal)
  const sync = mountSync(life, removal)

  async function storedEntries(): Promise<MountEntry[]> {
    const entries: MountEntry[] = []
    for (const folder of recordFolders) {
      for await (const [key, value] of storage.scan({ prefix: folder })) {
        try {
          const entry = decodeRecord(value)
          if (recordKey(entry) !== key) throw new Error('the record belongs under another key')
          entries.push(entry)
        } catch (error) {
          log.error('a mount record is unreadable; its mount is not available', { key, error: message(error) })
        }
      }
    }
    return entries
  }

  /** The built-in mounts of `stored`, made and saved where they are missing, in the order of `builtinMounts`. */
  async function builtins(stored: MountEntry[]): Promise<MountEntry[]> {
    const found: MountEntry[] = []
    for (const definition of builtinMounts) {
      const existing = stored.find((entry) => entry.type === definition.type && entry.table === definition.table)
      if (existing === undefined && !components.factories[definition.table].has(definition.type)) continue
      found.push(existing ?? newBuiltin(definition, random))
    }
    return found
  }

  async function load(): Promise<void> {
    for (const mounted of map.all()) await life.retire(mounted)
    const stored = await storedEntries()
    const own = await builtins(stored)
    const rest = stored.filter((entry) => !own.includes(entry))
    const mounts = await Promise.all([...own, ...rest].map((entry) => life.buildOrBreak(entry)))
    // Own mounts claim their points before replicated ones.
    const order = [
      ...mounts.slice(0, own.length),
      ...mounts.slice(own.length).sort((a, b) => rank(a.entry) - rank(b.entry)),
    ]
    for (const mounted of order) {
      await life.register(mounted)
      if (!stored.includes(mounted.entry)) await saveBuiltin(mounted.entry)
      life.activate(mounted)
    }
    for (const mounted of order) {
      if (mounted.entry.tainted && life.writable(mounted.entry.local)) removal.resume(mounted)
    }
  }

  async function saveBuiltin(entry: MountEntry): Promise<void> {
    try {
      await life.save(entry)
    } catch (error) {
      // A performance secondary serves sys/ before the primary's record of it has arrived.
      if (!isReadOnly(error)) throw error
    }
  }

  return {
    route: (path) => map.match(path),
    entries: (table) => map.ofTable(table).map((mounted) => mounted.entry),
    byAccessor: (accessor) => map.byAccessor(accessor),
    ...changes,
    load: () => queue(load),
    invalidate: (key) => sync.invalidate(key),
    nonHmacKeys(mountAccessor) {
      const config = map.byAccessor(mountAccessor)?.entry.config
      return {
        request: config?.audit_non_hmac_request_keys ?? noKeys,
        response: config?.audit_non_hmac_response_keys ?? noKeys,
      }
    },
    async periodic() {
      for (const mounted of map.all()) {
        if (mounted.entry.tainted || !life.writable(mounted.entry.local)) continue
        try {
          await mounted.backend.periodic?.(mounted.storage)
        } catch (error) {
          log.error('periodic work of a mount failed', { mount: mounted.point, error: message(error) })
        }
      }
    },
    close: () =>
      queue(async () => {
        for (const mounted of map.all()) await life.retire(mounted)
      }),
  }
}

function rank(entry: MountEntry): number {
  return entry.local ? 0 : 1
}
