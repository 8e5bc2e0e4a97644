import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { router } from './router.ts'

const segment = fc.constantFrom('a', 'b', 'ab', 'auth', 'x')
const point = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => `${segments.join('/')}/`)
const path = fc.array(segment, { minLength: 1, maxLength: 5 }).map((segments) => segments.join('/'))
const change = fc.record({ point, add: fc.boolean() })

/** What the router must answer, found the slow way. */
function slowMatch(points: ReadonlySet<string>, path: string): string | undefined {
  const longest = [...points].filter((point) => path.startsWith(point)).sort((a, b) => b.length - a.length)[0]
  return longest ?? (!path.endsWith('/') && points.has(`${path}/`) ? `${path}/` : undefined)
}

function slowConflict(points: ReadonlySet<string>, point: string): boolean {
  return [...points].some((other) => other.startsWith(point) || point.startsWith(other))
}

describe('router', () => {
  test('finds what a slow longest-prefix search finds, through any changes', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), fc.array(path, { maxLength: 30 }), (changes, paths) => {
        const fast = router<string>()
        const points = new Set<string>()
        for (const { point, add } of changes) {
          if (add) points.add(point)
          else points.delete(point)
          if (add) fast.set(point, point)
          else fast.delete(point)
        }
        for (const asked of [...paths, ...paths.map((path) => `${path}/`)]) {
          expect(fast.match(asked)).toBe(slowMatch(points, asked))
        }
        for (const asked of paths.map((path) => `${path}/`)) {
          const found = fast.conflict(asked)
          expect(found !== undefined).toBe(slowConflict(points, asked))
          if (found !== undefined) expect(points.has(found)).toBe(true)
        }
      }),
    )
  })

  test('`foo` finds the mount `foo/`, `foobar` does not', () => {
    const routes = router<number>()
    routes.set('foo/', 1)
    routes.set('auth/up/', 2)
    expect(routes.match('foo')).toBe(1)
    expect(routes.match('foobar')).toBeUndefined()
    expect(routes.match('auth/up/login/bob')).toBe(2)
    expect(routes.match('auth/')).toBeUndefined()
    expect(routes.match('')).toBeUndefined()
  })
})
