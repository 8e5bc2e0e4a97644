/** sys/mounts and sys/auth: the same operations on the two tables. */
import { type BackendResponse, field, type Path, type PathRequest, path } from '@lockstep/backend'
import type { MountEntry } from '../contracts.ts'
import { effectiveTtl } from '../mounts/mounted-backend.ts'
import type { SystemComponents } from './components.ts'
import { mountInfo, tuneInfo } from './mount-info.ts'
import { converted, enableConfig, refused, tuneConfig } from './mount-input.ts'

type Table = 'secret' | 'auth'
type Target = { table: Table; path: string; point: string }

export function mountPaths(components: SystemComponents): Path[] {
  return [...tablePaths(components, 'secret', 'mounts'), ...tablePaths(components, 'auth', 'auth')]
}

function tablePaths(components: SystemComponents, table: Table, name: string): Path[] {
  const { mounts, version } = components

  function info(rawPath: string): BackendResponse {
    const target = resolve(table, rawPath)
    const entry = find(components, target)
    if (entry === undefined) {
      throw refused(
        target.table === 'auth' ? `No auth engine at ${target.path}` : `No secret engine mount at ${target.path}`,
      )
    }
    return { data: mountInfo(entry, version) }
  }

  async function enable(rawPath: string, data: Record<string, unknown>): Promise<undefined> {
    const text = (key: string) => converted(key, field.string(), data)
    const flag = (key: string) => (data[key] === undefined ? undefined : converted(key, field.bool(), data))
    const type = data.type === undefined ? '' : (text('type') ?? '')
    if (type === '') throw refused('backend type must be specified as a string')
    const config = data.config === undefined ? {} : (converted('config', field.map(), data) ?? {})
    await mounts.enable(table, rawPath, {
      type,
      description: data.description === undefined ? '' : (text('description') ?? ''),
      local: flag('local') ?? false,
      sealWrap: flag('seal_wrap') ?? false,
      options: data.options === undefined ? {} : (converted('options', field.stringMap(), data) ?? {}),
      config: enableConfig(config, table),
    })
    return undefined
  }

  async function disable(rawPath: string): Promise<undefined> {
    await mounts.disable(table, rawPath)
    return undefined
  }

  const everything = path(name, {
    operations: {
      read: () => ({
        data: Object.fromEntries(mounts.entries(table).map((entry) => [entry.path, mountInfo(entry, version)])),
      }),
    },
    help:
      table === 'auth' ? 'The auth methods and their configuration.' : 'The secrets engines and their configuration.',
  })

  const one = path(`${name}/:path*`, {
    operations: {
      read: ({ params }) => {
        const tuned = tuneTarget(table, params.path)
        return tuned === undefined ? info(params.path) : readTune(components, tuned)
      },
      update: (request: PathRequest<`${string}/:path*`>) => {
        const rawPath = (request.params as { path: string }).path
        const tuned = tuneTarget(table, rawPath)
        return tuned === undefined ? enable(rawPath, request.data) : tune(components, tuned, request.data)
      },
      delete: ({ params }) => disable(params.path),
    },
    help: 'One mount; `<path>/tune` reads and changes its configuration.',
  })
  return [everything, one]
}

/** `x/tune`; `tune` alone is a mount of that name. */
function tuneTarget(table: Table, rawPath: string): Target | undefined {
  return rawPath.endsWith('/tune') ? resolve(table, rawPath.slice(0, -'/tune'.length)) : undefined
}

/** sys/mounts also reaches auth mounts, as `auth/<path>`. */
function resolve(table: Table, rawPath: string): Target {
  const point = `${table === 'auth' ? 'auth/' : ''}${rawPath.replace(/^\/+|\/+$/g, '')}/`
  const inAuth = point.startsWith('auth/')
  return { table: inAuth ? 'auth' : 'secret', path: inAuth ? point.slice('auth/'.length) : point, point }
}

function find({ mounts }: SystemComponents, { point }: Target): MountEntry | undefined {
  const mount = mounts.route(point)
  return mount?.point === point ? mount.entry : undefined
}

function readTune(components: SystemComponents, target: Target): BackendResponse {
  const entry = find(components, target)
  if (entry === undefined) throw refused(`cannot fetch sysview for path "${target.point}"`)
  return { data: tuneInfo(entry, effectiveTtl(entry, components.defaults)) }
}

const untunable = ['sys/', 'cubbyhole/', 'audit/', 'identity/']

async function tune(
  components: SystemComponents,
  target: Target,
  data: Record<string, unknown>,
): Promise<BackendResponse | undefined> {
  if (untunable.some((prefix) => target.point.startsWith(prefix))) throw refused(`cannot tune "${target.point}"`)
  const entry = find(components, target)
  if (entry === undefined) throw refused(`tune of path "${target.point}" failed: no mount entry found`)
  const options = data.options === undefined ? undefined : converted('options', field.stringMap(), data)
  const upgrade = versionChange(entry, options)
  await components.mounts.tune(target.table, target.path, {
    ...tuneConfig(data, target.table, entry.type),
    ...(data.description === undefined
      ? undefined
      : { description: converted('description', field.string(), data) ?? '' }),
    ...(options === undefined ? undefined : { options }),
  })
  return upgrade === undefined ? undefined : { warnings: [upgrade], status: 200 }
}

/** The warning of a kv upgrade, if the change is one. */
function versionChange(entry: MountEntry, options: Record<string, string> | undefined): string | undefined {
  if (entry.type !== 'kv' || options?.version === undefined) return undefined
  const from = Number(entry.options.version ?? '1')
  const to = Number(options.version)
  if (to !== 1 && to !== 2) throw refused(`unable to tune kv to unknown version ${options.version}`)
  if (to < from) throw refused(`cannot downgrade mount from version ${from}`)
  if (to === from) return undefined
  return `Upgrading mount from version ${from} to version ${to}. This mount will be unavailable for a brief period and will resume service shortly.`
}
