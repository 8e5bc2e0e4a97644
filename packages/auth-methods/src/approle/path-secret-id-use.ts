import { field, type Path, path } from '@lockstep/backend'
import { refuse } from '../token-params.ts'
import type { LoadedRole } from './role.ts'
import type { RoleStore } from './role-store.ts'
import { shownSecretId } from './secret-id-answer.ts'
import type { SecretIdStore } from './secret-id-store.ts'

const bySecretId = { secret_id: field.string({ default: '', description: 'The secret id.' }) }
const byAccessor = { secret_id_accessor: field.string({ default: '', description: "The secret id's accessor." }) }

/** Looking at and destroying secret ids, by themselves or by accessor. */
export function secretIdUsePaths(roles: RoleStore, secretIds: SecretIdStore, now: () => number): Path[] {
  async function roleNamed(name: string): Promise<LoadedRole> {
    return (await roles.get(name.toLowerCase())) ?? refuse(`role ${JSON.stringify(name)} does not exist`)
  }
  async function destroy(request: { params: { role_name: string }; field: { secret_id: string } }): Promise<undefined> {
    const { secret_id } = request.field
    if (secret_id === '') refuse('missing secret_id')
    await secretIds.remove(await roleNamed(request.params.role_name), secret_id)
  }
  async function destroyByAccessor(request: {
    params: { role_name: string }
    field: { secret_id_accessor: string }
  }): Promise<undefined> {
    const { secret_id_accessor: accessor } = request.field
    if (accessor === '') refuse('missing secret_id_accessor')
    const role = await roleNamed(request.params.role_name)
    if (!(await secretIds.removeByAccessor(role, accessor))) refuse(unknownAccessor(accessor))
  }

  return [
    path('role/:role_name/secret-id/lookup', {
      help: "A secret id's properties; nothing (204) when it is unknown.",
      fields: bySecretId,
      operations: {
        async update(request) {
          const { secret_id } = request.field
          if (secret_id === '') refuse('missing secret_id')
          const entry = await secretIds.find(await roleNamed(request.params.role_name), secret_id, now())
          return entry && { data: shownSecretId(entry) }
        },
      },
    }),
    path('role/:role_name/secret-id/destroy', {
      help: 'Destroys a secret id.',
      fields: bySecretId,
      operations: { update: destroy, delete: destroy },
    }),
    path('role/:role_name/secret-id-accessor/lookup', {
      help: 'The properties of the secret id with an accessor.',
      fields: byAccessor,
      operations: {
        async update(request) {
          const { secret_id_accessor: accessor } = request.field
          if (accessor === '') refuse('missing secret_id_accessor')
          const role = await roleNamed(request.params.role_name)
          const entry = await secretIds.findByAccessor(role, accessor, now())
          if (entry === undefined) return { status: 404, data: { error: unknownAccessor(accessor) } }
          return { data: shownSecretId(entry) }
        },
      },
    }),
    path('role/:role_name/secret-id-accessor/destroy', {
      help: 'Destroys the secret id with an accessor.',
      fields: byAccessor,
      operations: { update: destroyByAccessor, delete: destroyByAccessor },
    }),
  ]
}

function unknownAccessor(accessor: string): string {
  return `failed to find accessor entry for secret_id_accessor: ${JSON.stringify(accessor)}`
}
