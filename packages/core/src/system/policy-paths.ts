import { type BackendResponse, field, type Path, path } from '@lockstep/backend'
import type { SystemComponents } from './components.ts'
import { refused } from './mount-input.ts'

/** sys/policies/acl and the legacy sys/policy. */
export function policyPaths({ policies }: SystemComponents): Path[] {
  const text = {
    policy: field.string({ default: '', description: 'The rules, as HCL or JSON, plain or in base64.' }),
    rules: field.string({ default: '', description: 'Old name of `policy`.' }),
  }

  async function names(): Promise<string[]> {
    return (await policies.list()).sort()
  }

  async function write(name: string, policy: string, warnings: string[]): Promise<BackendResponse | undefined> {
    if (policy === '') throw refused("'policy' parameter not supplied or empty")
    const lower = name.toLowerCase()
    await policies.set(lower, policy)
    if (lower !== name) warnings.push(`policy name was converted to ${lower}`)
    return warnings.length === 0 ? undefined : { warnings, status: 200 }
  }

  async function remove(name: string): Promise<undefined> {
    await policies.delete(name.toLowerCase())
    return undefined
  }

  return [
    path('policies/acl', { operations: { list: async () => ({ data: { keys: await names() } }) } }),
    path('policies/acl/:name*', {
      fields: text,
      operations: {
        read: async ({ params }) => {
          const found = await policies.get(params.name)
          return found && { data: { name: found.name, policy: found.policy } }
        },
        update: ({ params, field }) => write(params.name, field.policy, []),
        delete: ({ params }) => remove(params.name),
      },
      help: 'Read, write or delete an access control policy.',
    }),
    path('policy', { operations: { read: legacyList, list: legacyList } }),
    path('policy/:name*', {
      fields: text,
      operations: {
        read: async ({ params }) => {
          const found = await policies.get(params.name)
          return found && { data: { name: found.name, rules: found.policy } }
        },
        update: ({ params, field }) =>
          field.policy === '' && field.rules !== ''
            ? write(params.name, field.rules, ["'rules' is deprecated, please use 'policy' instead"])
            : write(params.name, field.policy, []),
        delete: ({ params }) => remove(params.name),
      },
      help: 'Read, write or delete an access control policy.',
    }),
  ]

  async function legacyList(): Promise<BackendResponse> {
    const keys = await names()
    return { data: { keys, policies: keys } }
  }
}
