import type { MountEntry } from '../contracts.ts'
import { deleteDeclared, deleteUnder } from './mount-data.ts'
import type { MountLife } from './mount-life.ts'
import { message } from './mount-life.ts'
import { dataPrefix, recordKey } from './mount-record.ts'
import type { Mounted } from './mounted-backend.ts'
import { storageErrorForBackend } from './read-only.ts'

/**
 * Removal of a mount with all its data: taint, revoke leases, delete data, delete the record last. A crash in between leaves a
 * tainted record, from which the next load goes on.
 */
export interface MountRemoval {
  /** Resolves when nothing is left. A second call joins the first. On failure the mount stays tainted; call again to retry. */
  remove(mounted: Mounted): Promise<void>
  /** Goes on in the background with a removal that was begun earlier. */
  resume(mounted: Mounted): void
  /** The record is gone already (removed by the primary): drops the mount and what only this cluster stored for it. */
  vanished(mounted: Mounted): Promise<void>
  /** The primary began to remove the mount: revokes this cluster's leases while the backend can still do it. */
  taintedUpstream(mounted: Mounted): void
}

export function mountRemoval(life: MountLife): MountRemoval {
  const { components, map, queue } = life
  const { log, storage, classes } = components
  const running = new Map<string, Promise<void>>()

  const revoke = async (mounted: Mounted, force: boolean) => components.revokeLeases?.(mounted.point, { force })

  async function run(mounted: Mounted): Promise<void> {
    if (!mounted.entry.tainted) {
      await queue(async () => {
        const entry: MountEntry = { ...mounted.entry, tainted: true }
        await life.save(entry)
        mounted.entry = entry
      })
    }
    await revoke(mounted, false)
    try {
      await mounted.gate.close()
      await deleteUnder(storage, dataPrefix(mounted.entry))
      await queue(async () => {
        await storage.delete(recordKey(mounted.entry))
        await life.retire(mounted)
        await classes.unregisterMount(mounted.entry.uuid)
      })
    } catch (error) {
      throw storageErrorForBackend(error)
    }
  }

  function remove(mounted: Mounted): Promise<void> {
    const { uuid } = mounted.entry
    let removal = running.get(uuid)
    if (removal === undefined) {
      removal = run(mounted).finally(() => running.delete(uuid))
      running.set(uuid, removal)
    }
    return removal
  }

  return {
    remove,
    resume(mounted) {
      remove(mounted).catch((error) => {
        log.error('removing a mount failed; it stays tainted', { mount: mounted.point, error: message(error) })
      })
    },
    async vanished(mounted) {
      await revoke(mounted, true).catch((error) => {
        log.warn('leases of a removed mount were not revoked', { mount: mounted.point, error: message(error) })
      })
      await life.retire(mounted)
      const prefix = dataPrefix(mounted.entry)
      const own = mounted.entry.local ? ['*'] : (mounted.backend.special.localStorage ?? [])
      for (const declared of own) await deleteDeclared(storage, prefix, declared)
      // The same mount may have come back in the meantime, with rules of its own.
      if (map.byUuid(mounted.entry.uuid) === undefined) await classes.unregisterMount(mounted.entry.uuid)
    },
    taintedUpstream(mounted) {
      revoke(mounted, true).catch((error) => {
        log.warn('leases of a mount under removal were not revoked', { mount: mounted.point, error: message(error) })
      })
    },
  }
}
