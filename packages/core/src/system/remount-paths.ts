import { field, type Path, path } from '@lockstep/backend'
import { newUuid } from '../mounts/mount-identity.ts'
import type { SystemComponents } from './components.ts'
import { refused } from './mount-input.ts'

interface Migration {
  source: string
  target: string
  status: 'in-progress' | 'success' | 'failure'
}

/** Finished migrations kept for status queries. */
const kept = 256

/** sys/remount: the move runs behind the answer; its status is asked for by id, on the node that does it. */
export function remountPaths({ mounts, random, log }: SystemComponents): Path[] {
  const migrations = new Map<string, Migration>()

  function start(from: string, to: string): string {
    const id = newUuid(random)
    const migration: Migration = { source: slashed(from), target: slashed(to), status: 'in-progress' }
    migrations.set(id, migration)
    if (migrations.size > kept) migrations.delete(migrations.keys().next().value!)
    mounts.remount(from, to).then(
      () => {
        migration.status = 'success'
      },
      (error) => {
        migration.status = 'failure'
        log.error('moving a mount failed', { migration: id, from, to, error: String(error?.message ?? error) })
      },
    )
    return id
  }

  return [
    path('remount', {
      fields: {
        from: field.string({ default: '', description: 'The mount point to move.' }),
        to: field.string({ default: '', description: 'Where it moves to.' }),
      },
      operations: {
        update: ({ field: { from, to } }) => {
          if (from === '' || to === '') throw refused("both 'from' and 'to' path must be specified as a string")
          mounts.checkRemount(from, to)
          const warning =
            "Mount move has been queued. Progress will be reported in Vault's server log, tagged with the returned migration_id"
          return { data: { migration_id: start(from, to) }, warnings: [warning] }
        },
      },
      help: 'Move the mount point of a mounted backend.',
    }),
    path('remount/status/:id', {
      operations: {
        read: ({ params: { id } }) => {
          const migration = migrations.get(id)
          if (migration === undefined) return undefined
          const { source, target, status } = migration
          return {
            data: { migration_id: id, migration_info: { source_mount: source, target_mount: target, status } },
          }
        },
      },
      help: 'The state of a move.',
    }),
  ]
}

function slashed(path: string): string {
  return `${path.replace(/^\/+|\/+$/g, '')}/`
}
