import type { PathsFilterSettings } from '@lockstep/paths-filter'
import { describe, expect, test } from 'vitest'
import { filteredView } from './filtered-view.ts'

const paths = new Map([
  ['core', ''],
  ['m1', 'secret/'],
  ['m2', 'EU_GDPR_data/'],
])
const view = (kind: 'performance' | 'dr', filter?: PathsFilterSettings) =>
  filteredView({ kind, mountPathOf: (mount) => paths.get(mount), filter })
const replicated = (mount: string) => ({ class: 'replicated' as const, mount })
const local = (mount: string) => ({ class: 'local' as const, mount })
const withhold: PathsFilterSettings = { mode: 'deny', paths: ['EU_GDPR_data/'] }

describe('what a secondary may hold', () => {
  test('performance: replicated only; DR: local too', () => {
    expect(view('performance').ships(replicated('m1'), 'secret/')).toBe(true)
    expect(view('performance').ships(local('m1'), 'secret/')).toBe(false)
    expect(view('performance').ships(local('core'), '')).toBe(false)
    expect(view('dr').ships(local('m1'), 'secret/')).toBe(true)
  })

  test('a denied mount is withheld, the core never is', () => {
    const filtered = view('performance', withhold)
    expect(filtered.ships(replicated('m2'), 'EU_GDPR_data/')).toBe(false)
    expect(filtered.ships(replicated('m1'), 'secret/')).toBe(true)
    expect(filtered.ships(replicated('core'), '')).toBe(true)
  })

  test('under a filter, a mount without a known path is withheld', () => {
    expect(view('performance', withhold).ships(replicated('gone'), '')).toBe(false)
    expect(view('performance').ships(replicated('gone'), '')).toBe(true)
  })

  test('the name of the view follows the filter', () => {
    const changing = view('performance')
    const before = changing.id
    changing.setFilter({ mode: 'deny', paths: ['secret/'] })
    expect(changing.id).not.toBe(before)
    expect(changing.ships(replicated('m1'), 'secret/')).toBe(false)
    changing.setFilter(undefined)
    expect(changing.id).toBe(before)
  })
})
