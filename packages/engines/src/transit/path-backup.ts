import { checkedName, field, type Path, path } from '@lockstep/backend'
import { decodeBackup, encodeBackup } from './backup.ts'
import type { KeyStore } from './key-store.ts'
import { refuse } from './transit-key.ts'

const fields = {
  backup: field.string({ default: '', description: 'What backup gave.' }),
  force: field.bool({ default: false, description: 'Replace a key of the same name.' }),
}

export function backupPaths(keys: KeyStore, now: () => number): Path[] {
  async function restore(given: { backup: string; force: boolean }, name: string | undefined): Promise<undefined> {
    if (given.backup === '') refuse("'backup' must be supplied")
    const { settings, versions } = decodeBackup(given.backup, name, now())
    checkedName(settings.name)
    await keys.restore(settings, versions, given.force)
  }

  return [
    path('backup/:name', {
      help: 'All of a key as text, in the clear, if the key allows it. In the format of Vault.',
      operations: {
        async read(request) {
          const { name } = request.params
          const key = await keys.update(name, `key "${name}" not found`, (settings) => {
            if (!settings.exportable) refuse('exporting is disallowed on the policy')
            if (!settings.plaintextBackup) refuse('plaintext backup is disallowed on the policy')
            settings.backup = { time: new Date(now()).toISOString(), version: settings.latest }
          })
          const versions = await keys.allVersions(key.settings)
          return { data: { backup: encodeBackup({ settings: key.settings, versions }, now()) } }
        },
      },
    }),
    path('restore', {
      help: 'Restores a backup under its own name.',
      fields,
      operations: { update: (request) => restore(request.field, undefined) },
    }),
    path('restore/:name', {
      help: 'Restores a backup under a new name.',
      fields,
      operations: { update: (request) => restore(request.field, request.params.name) },
    }),
  ]
}
