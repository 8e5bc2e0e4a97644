import { type Path, path } from '@lockstep/backend'
import type { SystemComponents } from './components.ts'
import { builtinVersion } from './mount-info.ts'

const hidden = new Set(['system', 'token', 'cubbyhole'])

/** sys/plugins/catalog: the engines and auth methods built into this server. Others cannot be registered. */
export function catalogPaths({ factories, version }: SystemComponents): Path[] {
  const names = {
    secret: [...factories.secret.keys()].filter((name) => !hidden.has(name)).sort(),
    auth: [...factories.auth.keys()].filter((name) => !hidden.has(name)).sort(),
    database: [] as string[],
  }
  const detail = (type: string, name: string) => ({
    builtin: true,
    deprecation_status: 'supported',
    name,
    type,
    version: builtinVersion(version),
  })
  const ofType = (type: string): string[] | undefined =>
    Object.hasOwn(names, type) ? names[type as keyof typeof names] : undefined

  return [
    path('plugins/catalog', {
      operations: {
        read: () => ({
          data: {
            auth: names.auth,
            database: names.database,
            detailed: [
              ...names.auth.map((name) => detail('auth', name)),
              ...names.secret.map((name) => detail('secret', name)),
            ],
            secret: names.secret,
          },
        }),
      },
      help: 'What can be mounted.',
    }),
    path('plugins/catalog/:type', {
      operations: {
        list: ({ params }) => {
          const keys = ofType(params.type)
          return keys && { data: { keys } }
        },
      },
    }),
    path('plugins/catalog/:type/:name', {
      operations: {
        read: ({ params }) => {
          if (!ofType(params.type)?.includes(params.name)) return undefined
          const { type: _, ...shown } = detail(params.type, params.name)
          return { data: { args: [], command: '', sha256: '', ...shown } }
        },
      },
    }),
  ]
}
