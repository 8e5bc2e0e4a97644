import { BackendError, field, type Path, path } from '@lockstep/backend'
import type { SystemComponents } from './components.ts'
import { refused } from './mount-input.ts'

/** sys/audit and sys/audit-hash. */
export function auditPaths({ audit, isPerformanceSecondary }: SystemComponents): Path[] {
  function assertWritable(local: boolean): void {
    if (!local && isPerformanceSecondary?.()) {
      throw new BackendError('BACKEND_READ_ONLY', 'cannot write to readonly storage')
    }
  }

  return [
    path('audit', { operations: { read: () => ({ data: { ...audit.list() } }) }, help: 'The audit devices.' }),
    path('audit/:path*', {
      fields: {
        type: field.string({ default: '', description: 'file, syslog or socket.' }),
        description: field.string({ default: '' }),
        options: field.stringMap({ default: {} }),
        local: field.bool({ default: false, description: 'Not replicated.' }),
      },
      operations: {
        update: async ({ params, field: { type, description, options, local } }) => {
          if (type === '') throw refused('backend type must be specified as a string')
          assertWritable(local)
          await audit.enable(slashed(params.path), { type, description, options, local })
          return undefined
        },
        delete: async ({ params }) => {
          const name = slashed(params.path)
          const device = audit.list()[name]
          if (device === undefined) return undefined
          assertWritable(device.local)
          await audit.disable(name)
          return undefined
        },
      },
      help: 'Enable or disable an audit device.',
    }),
    path('audit-hash/:path*', {
      fields: { input: field.string({ default: '', description: 'What to hash.' }) },
      operations: {
        update: async ({ params, field: { input } }) => {
          if (input === '') throw refused('the "input" parameter is empty')
          const name = slashed(params.path)
          if (audit.list()[name] === undefined) throw refused(`unknown audit backend "${name}"`)
          return { data: { hash: await audit.hash(name, input) } }
        },
      },
      help: "A value's hash as it appears in an audit device's log.",
    }),
  ]
}

function slashed(name: string): string {
  return name.endsWith('/') ? name : `${name}/`
}
