import { BackendError, type BackendResponse, type Path, path } from '@lockstep/backend'
import { refuse } from '../token-params.ts'
import { changeRole, roleFields, shownList, shownRole } from './path-role.ts'
import type { Role } from './role.ts'
import type { RoleStore } from './role-store.ts'

type FieldName = keyof typeof roleFields

interface RoleField {
  /** Path segment. */
  segment: string
  /** Accepted fields, the modern name first: it names what is missing. */
  names: readonly FieldName[]
  shown(role: Role): Record<string, unknown>
  /** Value that deleting sets, or undefined when it cannot be deleted. */
  reset?: unknown
  readOnly?: true
}

const roleFieldTable: RoleField[] = [
  {
    segment: 'policies',
    names: ['token_policies', 'policies'],
    shown: (r) => pick(r, 'token_policies', 'policies'),
    reset: [],
  },
  { segment: 'token-ttl', names: ['token_ttl'], shown: (r) => pick(r, 'token_ttl'), reset: 0 },
  { segment: 'token-max-ttl', names: ['token_max_ttl'], shown: (r) => pick(r, 'token_max_ttl'), reset: 0 },
  { segment: 'token-num-uses', names: ['token_num_uses'], shown: (r) => pick(r, 'token_num_uses'), reset: 0 },
  {
    segment: 'token-bound-cidrs',
    names: ['token_bound_cidrs'],
    shown: (r) => ({ token_bound_cidrs: shownList(r.token.boundCidrs) }),
    reset: [],
  },
  { segment: 'period', names: ['token_period', 'period'], shown: (r) => pick(r, 'token_period', 'period'), reset: 0 },
  { segment: 'bind-secret-id', names: ['bind_secret_id'], shown: (r) => pick(r, 'bind_secret_id'), reset: true },
  {
    segment: 'secret-id-bound-cidrs',
    names: ['secret_id_bound_cidrs'],
    shown: (r) => pick(r, 'secret_id_bound_cidrs'),
    reset: [],
  },
  {
    segment: 'bound-cidr-list',
    names: ['bound_cidr_list'],
    shown: (r) => ({ bound_cidr_list: shownList(r.secretIdBoundCidrs) }),
    reset: [],
  },
  {
    segment: 'secret-id-num-uses',
    names: ['secret_id_num_uses'],
    shown: (r) => pick(r, 'secret_id_num_uses'),
    reset: 0,
  },
  { segment: 'secret-id-ttl', names: ['secret_id_ttl'], shown: (r) => pick(r, 'secret_id_ttl'), reset: 0 },
  { segment: 'role-id', names: ['role_id'], shown: (r) => ({ role_id: r.roleId }) },
  {
    segment: 'local-secret-ids',
    names: ['local_secret_ids'],
    shown: (r) => pick(r, 'local_secret_ids'),
    readOnly: true,
  },
]

const deprecated: Record<string, string> = {
  'bound-cidr-list':
    'The "bound_cidr_list" field is deprecated and will be removed. Please use "secret_id_bound_cidrs" instead.',
}

/** `role/:role_name/<field>`: one setting of a role at a time. */
export function roleFieldPaths(roles: RoleStore): Path[] {
  return roleFieldTable.map((entry) => {
    const [modern] = entry.names as [FieldName]
    const fields = Object.fromEntries(entry.names.map((name) => [name, roleFields[name]]))

    async function change(name: string, given: Record<string, unknown>): Promise<boolean> {
      return roles.write(name.toLowerCase(), (role) => void changeRole(role, false, given), { mustExist: true })
    }
    return path(`role/:role_name/${entry.segment}`, {
      help: roleFields[modern].description,
      fields,
      operations: {
        async read(request): Promise<BackendResponse | undefined> {
          const role = await roles.get(request.params.role_name.toLowerCase())
          if (role === undefined) return undefined
          const warning = deprecated[entry.segment]
          return { data: entry.shown(role), ...(warning !== undefined && { warnings: [warning] }) }
        },
        ...(!entry.readOnly && {
          async update(request: { params: { role_name: string }; field: Record<string, unknown> }) {
            if (entry.names.every((name) => request.field[name] === undefined)) refuse(`missing ${modern}`)
            if (await change(request.params.role_name, request.field)) return undefined
            throw new BackendError('BACKEND_UNSUPPORTED_PATH', 'unsupported path')
          },
        }),
        ...(entry.reset !== undefined && {
          async delete(request: { params: { role_name: string } }) {
            await change(request.params.role_name, { [modern]: entry.reset })
            return undefined
          },
        }),
      },
    })
  })
}

function pick(role: Role, ...names: string[]): Record<string, unknown> {
  const shown = shownRole(role)
  return Object.fromEntries(names.filter((name) => name in shown).map((name) => [name, shown[name]]))
}
