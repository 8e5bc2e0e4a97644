// Random histories of mounts that come, move and go under filters that change, against what the rules say in so many words.
import { CORE_MOUNTS, type PathsFilterSettings } from '@lockstep/paths-filter'
import type { LinkKind } from '@lockstep/replication'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type FilteredView, filteredView } from './filtered-view.ts'

interface Model {
  mounts: Map<string, string>
  filter: PathsFilterSettings | undefined
}

const MOUNTS = ['m1', 'm2', 'm3', 'm4']
// Mounts within namespaces, mounts whose names begin alike, and what every cluster needs.
const PATHS = ['a/', 'a/b/', 'a/b/c/', 'ab/', 'auth/x/', 'a/auth/x/', 'auth/token/', 'sys/', 'identity/', 'b/']
const FILTERED = PATHS.filter((path) => !CORE_MOUNTS.includes(path))

/** Told without any of the code under test: the classes of the kind, then the filter's paths one by one. */
function mayHold({ mounts, filter }: Model, kind: LinkKind, storageClass: string, mount: string): boolean {
  if (storageClass === 'ignored' || (storageClass === 'local' && kind !== 'dr')) return false
  if (filter === undefined || mount === 'core') return true
  const path = mounts.get(mount)
  if (path === undefined) return false
  if (CORE_MOUNTS.some((core) => path.slice(0, core.length) === core)) return true
  const named = filter.paths.some((each) => {
    const bare = each.replace(/^\/|\/$/g, '')
    return path === `${bare}/` || path.slice(0, bare.length + 1) === `${bare}/`
  })
  return filter.mode === 'allow' ? named : !named
}

type Step = fc.Command<Model, FilteredView>

const step = (name: string, run: (model: Model, view: FilteredView) => void): Step => ({
  check: () => true,
  toString: () => name,
  run(model, view) {
    run(model, view)
    for (const mount of [...MOUNTS, 'core']) {
      for (const storageClass of ['replicated', 'local'] as const) {
        const path = mount === 'core' ? '' : (model.mounts.get(mount) ?? '')
        const kind = view.id.startsWith('dr:') ? 'dr' : 'performance'
        expect(view.ships({ class: storageClass, mount }, path), `${storageClass}/${mount} at ${path}`).toBe(
          mayHold(model, kind, storageClass, mount),
        )
      }
    }
  },
})

const mount = fc.constantFrom(...MOUNTS)
const path = fc.constantFrom(...PATHS)
const written = fc.tuple(fc.constantFrom(...FILTERED), fc.nat(3)).map(([each, form]) => {
  const closed = form & 1 ? each.slice(0, -1) : each
  return form & 2 ? `/${closed}` : closed
})
const settings: fc.Arbitrary<PathsFilterSettings> = fc.record({
  mode: fc.constantFrom('allow' as const, 'deny' as const),
  paths: fc.array(written, { maxLength: 4 }),
})

const steps = [
  // A mount at a path that a filter may have named long before: or one that moves in or out of it.
  fc
    .tuple(mount, path)
    .map(([id, at]) => step(`mount or move ${id} to ${at}`, ({ mounts }) => void mounts.set(id, at))),
  mount.map((id) => step(`unmount ${id}`, ({ mounts }) => void mounts.delete(id))),
  settings.map((filter) =>
    step(`filter ${JSON.stringify(filter)}`, (model, view) => {
      const before = view.id
      const same =
        JSON.stringify([model.filter?.mode, model.filter?.paths]) === JSON.stringify([filter.mode, filter.paths])
      view.setFilter(filter)
      model.filter = filter
      // The secondary is brought in line anew when, and only when, the view has another name.
      expect(view.id === before).toBe(same)
    }),
  ),
  fc.constant(
    step('no filter', (model, view) => {
      view.setFilter(undefined)
      model.filter = undefined
    }),
  ),
]

test.each<LinkKind>(['performance', 'dr'])(
  'what a %s secondary may hold, whatever becomes of mounts and filters',
  (kind) => {
    fc.assert(
      fc.property(fc.commands(steps, { maxCommands: 40, size: 'max' }), (commands) => {
        const model: Model = { mounts: new Map(), filter: undefined }
        const view = filteredView({ kind, mountPathOf: (id) => (id === 'core' ? '' : model.mounts.get(id)) })
        fc.modelRun(() => ({ model, real: view }), commands)
      }),
      { numRuns: process.env.SLOW ? 5000 : 200 },
    )
  },
)
