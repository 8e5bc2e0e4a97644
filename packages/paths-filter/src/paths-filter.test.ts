import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CORE_MOUNTS, type FilterMode, pathsFilter } from './index.ts'

const allow = (...paths: string[]) => pathsFilter({ mode: 'allow', paths })
const deny = (...paths: string[]) => pathsFilter({ mode: 'deny', paths })

describe('allows', () => {
  test.each<[string, boolean]>([
    ['', true],
    ['sys/', true],
    ['sys/audit/file/', true],
    ['identity/', true],
    ['cubbyhole/', true],
    ['auth/token/', true],
    ['EU_GDPR_data/', false],
    ['EU_GDPR_data2/', true],
    ['eu_gdpr_data/', true],
    ['office_FR/', false],
    ['office_FR/secret/', false],
    ['office_FR/auth/userpass/', false],
    ['office_FR/team/secret/', false],
    ['office/', true],
    ['auth/ldap/', false],
    ['auth/ldap2/', true],
    ['ldap/', true],
    ['kv/', true],
    ['kv/team/', false],
  ])('%s, with a list of what to withhold: %s', (mountPath, expected) => {
    expect(deny('EU_GDPR_data/', 'office_FR/', 'auth/ldap/', 'kv/team/').allows(mountPath)).toBe(expected)
  })

  test.each<[string, boolean]>([
    ['', true],
    ['sys/', true],
    ['identity/', true],
    ['cubbyhole/', true],
    ['auth/token/', true],
    ['secret/', true],
    ['secret2/', false],
    ['auth/userpass/', true],
    ['auth/ldap/', false],
    ['ns1/', true],
    ['ns1/deep/secret/', true],
    ['ns2/', false],
    ['kv/', false],
    ['kv/team/', true],
  ])('%s, with a list of what to send: %s', (mountPath, expected) => {
    expect(allow('secret/', 'auth/userpass/', 'ns1/', 'kv/team/').allows(mountPath)).toBe(expected)
  })

  test('a path without its slash', () => {
    expect(deny('secret/').allows('secret')).toBe(false)
    expect(allow('secret/').allows('secret')).toBe(true)
    expect(allow('secret/').allows('sys')).toBe(true)
  })

  test('an empty list', () => {
    expect(allow().allows('secret/')).toBe(false)
    expect(allow().allows('')).toBe(true)
    expect(deny().allows('secret/')).toBe(true)
  })
})

describe('validation', () => {
  test('normalises', () => {
    expect(allow('/secret', ' secret/ ', 'secret/', 'auth/x').paths).toEqual(['secret/', 'auth/x/'])
  })

  test.each<[unknown, string]>([
    ['', 'must name a mount or a namespace'],
    ['/', 'must name a mount or a namespace'],
    [7, 'must be a string'],
    [null, 'must be a string'],
    ['a//b/', 'must not have empty, "." or ".." segments'],
    ['//a/', 'must not have empty, "." or ".." segments'],
    ['a/../b/', 'must not have empty, "." or ".." segments'],
    ['./', 'must not have empty, "." or ".." segments'],
    ['secret/*', 'must name one path; wildcards are not supported'],
    ['+/secret/', 'must name one path; wildcards are not supported'],
    ['a\u0000b/', 'must not have control characters'],
    ['x'.repeat(1024), 'must be at most 1024 characters long'],
    ['auth/', 'must name an auth mount, for instance auth/userpass/'],
    ['sys/', 'cannot be filtered: every cluster needs sys/'],
    ['sys/policy', 'cannot be filtered: every cluster needs sys/policy/'],
    ['identity', 'cannot be filtered: every cluster needs identity/'],
    ['/cubbyhole/', 'cannot be filtered: every cluster needs cubbyhole/'],
    ['auth/token', 'cannot be filtered: every cluster needs auth/token/'],
  ])('refuses the path %j', (path, problem) => {
    expect(() => pathsFilter({ mode: 'deny', paths: ['ok/', path as string] })).toThrow(
      expect.objectContaining({
        code: 'PATHS_FILTER_INVALID_PATHS',
        field: 'paths[1]',
        message: `paths[1]: ${problem}`,
      }),
    )
  })

  test.each([undefined, '', 'Allow', 'whitelist', 1])('refuses the mode %j', (mode) => {
    expect(() => pathsFilter({ mode: mode as FilterMode, paths: [] })).toThrow(
      expect.objectContaining({ code: 'PATHS_FILTER_INVALID_MODE', field: 'mode' }),
    )
  })

  test.each([undefined, 'secret/', { 0: 'secret/' }, Array(10_001).fill('a/')])('refuses paths of %j', (paths) => {
    expect(() => pathsFilter({ mode: 'allow', paths: paths as string[] })).toThrow(
      expect.objectContaining({ code: 'PATHS_FILTER_INVALID_PATHS', field: 'paths' }),
    )
  })

  test('what was given may change afterwards', () => {
    const paths = ['a/']
    const filter = pathsFilter({ mode: 'allow', paths })
    paths[0] = 'b/'
    expect(filter.allows('a/')).toBe(true)
    expect(Object.isFrozen(filter.paths)).toBe(true)
  })
})

describe('properties', () => {
  const segment = fc.constantFrom('a', 'b', 'c', 'ns1', 'auth', 'token', 'sys', 'identity')
  const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => `${segments.join('/')}/`)
  const isCore = (candidate: string): boolean => CORE_MOUNTS.some((mount) => candidate.startsWith(mount))
  const filtered = fc.array(
    path.filter((candidate) => candidate !== 'auth/' && !isCore(candidate)),
    { maxLength: 6 },
  )
  const mode = fc.constantFrom<FilterMode>('allow', 'deny')

  test('allow and deny of one list are opposites outside the core', () => {
    fc.assert(
      fc.property(filtered, path, (paths, mountPath) => {
        const [a, d] = [allow(...paths), deny(...paths)]
        if (isCore(mountPath)) expect([a.allows(mountPath), d.allows(mountPath)]).toEqual([true, true])
        else expect(a.allows(mountPath)).toBe(!d.allows(mountPath))
      }),
    )
  })

  test('agrees with plain prefix comparison', () => {
    fc.assert(
      fc.property(filtered, path, (paths, mountPath) => {
        const named = paths.some((candidate) => mountPath.startsWith(candidate))
        expect(allow(...paths).allows(mountPath)).toBe(isCore(mountPath) || named)
      }),
    )
  })

  test('what holds of a namespace holds of all below it', () => {
    fc.assert(
      fc.property(filtered, path, path, (paths, namespace, below) => {
        fc.pre(!isCore(namespace))
        if (allow(...paths).allows(namespace)) expect(allow(...paths).allows(namespace + below)).toBe(true)
        if (!deny(...paths).allows(namespace)) expect(deny(...paths).allows(namespace + below)).toBe(false)
      }),
    )
  })

  test('survives JSON, normalising once', () => {
    fc.assert(
      fc.property(mode, filtered, path, (given, paths, mountPath) => {
        const filter = pathsFilter({ mode: given, paths })
        const again = pathsFilter(JSON.parse(JSON.stringify(filter)))
        expect(again.toJSON()).toEqual(filter.toJSON())
        expect(again.allows(mountPath)).toBe(filter.allows(mountPath))
      }),
    )
  })
})
