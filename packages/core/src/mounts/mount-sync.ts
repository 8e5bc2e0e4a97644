import type { MountEntry } from '../contracts.ts'
import { optionsDiffer } from './mount-changes.ts'
import { type MountLife, message } from './mount-life.ts'
import { pointOf } from './mount-path.ts'
import { decodeRecord, parseKey, recordKey } from './mount-record.ts'
import type { MountRemoval } from './mount-removal.ts'

/** Follows changes of storage that this table did not make: replicated mount records and replicated data of mounts. */
export interface MountSync {
  invalidate(key: string): Promise<void>
}

export function mountSync(life: MountLife, removal: MountRemoval): MountSync {
  const { components, map, queue } = life
  const { storage, log } = components

  async function appeared(entry: MountEntry): Promise<void> {
    const builtin = map.ofType(entry.type)
    if (builtin?.builtin && entry.table === builtin.entry.table) {
      // This cluster ran on a record of its own making until the primary's arrived.
      await life.register(builtin, entry)
      map.change(builtin, () => {
        builtin.entry = entry
      })
      return
    }
    const mounted = await life.buildOrBreak(entry)
    await life.register(mounted)
    life.activate(mounted)
    if (entry.tainted) removal.taintedUpstream(mounted)
  }

  async function sync(key: string, uuid: string): Promise<void> {
    const bytes = await storage.get(key)
    const mounted = map.byUuid(uuid)
    if (bytes === undefined) {
      if (mounted !== undefined && recordKey(mounted.entry) === key) await removal.vanished(mounted)
      return
    }
    const entry = decodeRecord(bytes)
    if (entry.uuid !== uuid || recordKey(entry) !== key) throw new Error('a mount record is stored under a foreign key')
    if (mounted === undefined) return appeared(entry)

    const before = mounted.entry
    if (before.path !== entry.path) await life.register(mounted, entry)
    const rebuild = before.type !== entry.type || optionsDiffer(before, entry)
    if (rebuild) await life.exchange(mounted, await life.buildOrBreak(entry))
    map.change(mounted, () => {
      mounted.entry = entry
      mounted.point = pointOf(entry.table, entry.path)
    })
    if (entry.tainted && !before.tainted) removal.taintedUpstream(mounted)
  }

  return {
    async invalidate(key) {
      const parsed = parseKey(key)
      if (parsed === undefined) return
      if (parsed.kind === 'record') return queue(() => sync(key, parsed.uuid))
      const mounted = map.byUuid(parsed.uuid)
      try {
        mounted?.backend.invalidate?.(parsed.rest)
      } catch (error) {
        log.error('a backend failed to drop what it caches', { mount: mounted?.point, error: message(error) })
      }
    },
  }
}
