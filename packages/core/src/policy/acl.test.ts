import type { Operation } from '@lockstep/backend'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { exactNumber } from '../../test/exact-number.ts'
import { compileAcl, rootAcl } from './acl.ts'
import type { Capability } from './capability.ts'
import type { NamedRules, PolicyRule } from './rule.ts'

const policy = (name: string, ...rules: PolicyRule[]): NamedRules => ({ name, rules })
const rule = (path: string, capabilities: Capability[], more: Partial<PolicyRule> = {}): PolicyRule => ({
  path,
  capabilities,
  ...more,
})
const ask = (operation: Operation, path: string, data: Record<string, unknown> = {}, wrapTtl = 0) => ({
  operation,
  path,
  data,
  wrapTtl,
})

describe('matching', () => {
  const acl = compileAcl([
    policy(
      'p',
      rule('secret/exact', ['read']),
      rule('secret/*', ['list']),
      rule('secret/+/team', ['update']),
      rule('secret/+/te*', ['delete']),
      rule('secret/foo/*', ['create']),
      rule('+/b', ['read']),
      rule('no/*', ['deny']),
      rule('no/+/x', ['read']),
      rule('plus/+lit', ['read']),
    ),
  ])
  it.each([
    ['secret/exact', ['read']],
    ['secret/exact/', ['read']],
    ['secret/other', ['list']],
    ['secret/bar/team', ['update']],
    ['secret/bar/tea', ['list']],
    ['secret/foo/team', ['create']],
    ['a/b', ['read']],
    ['a/b/', ['read']],
    ['a/b/c', ['deny']],
    ['no/x', ['deny']],
    ['no/y/x', ['read']],
    ['plus/+lit', ['read']],
    ['plus/alit', ['deny']],
    ['/secret/exact', ['read']],
    ['', ['deny']],
  ])('%s gives %j', (path, capabilities) => {
    expect(acl.capabilities(path)).toEqual(capabilities)
  })

  it('takes a LIST with or without its slash to an exact rule, other operations not', () => {
    const listing = compileAcl([policy('p', rule('a/b', ['list', 'read']))])
    expect(listing.authorize(ask('list', 'a/b/')).allowed).toBe(true)
    expect(listing.authorize(ask('list', 'a/b')).allowed).toBe(true)
    expect(listing.authorize(ask('read', 'a/b/')).allowed).toBe(false)
  })

  it('takes a LIST without its slash to a wildcard rule only where none speaks of the folder', () => {
    const plus = rule('x/+', ['list'])
    const listed = (...rules: PolicyRule[]) =>
      compileAcl([policy('p', ...rules)]).authorize(ask('list', 'x/ab/')).allowed
    expect(listed(plus)).toBe(true)
    expect(listed(plus, rule('x/ab/*', ['deny']))).toBe(false)
    expect(listed(plus, rule('x/+/*', ['deny']))).toBe(false)
    expect(compileAcl([policy('p', rule('x/+', ['read']))]).authorize(ask('read', 'x/ab/')).allowed).toBe(false)
  })

  it('always helps, and maps renew and revoke to update', () => {
    const none = compileAcl([])
    expect(none.authorize(ask('help', 'x')).allowed).toBe(true)
    const update = compileAcl([policy('p', rule('x', ['update']))])
    expect(update.authorize(ask('renew', 'x')).allowed).toBe(true)
    expect(update.authorize(ask('revoke', 'x')).allowed).toBe(true)
    expect(update.authorize(ask('create', 'x')).allowed).toBe(false)
  })
})

describe('merging', () => {
  it('joins capabilities, names who granted, lets deny win', () => {
    const acl = compileAcl([
      policy('a', rule('x', ['read']), rule('y', ['read'])),
      policy('b', rule('x', ['read', 'list']), rule('y', ['deny'])),
    ])
    expect(acl.authorize(ask('read', 'x')).grantingPolicies).toEqual([
      { name: 'a', type: 'acl' },
      { name: 'b', type: 'acl' },
    ])
    expect(acl.authorize(ask('list', 'x')).grantingPolicies).toEqual([{ name: 'b', type: 'acl' }])
    expect(acl.capabilities('y')).toEqual(['deny'])
    expect(acl.authorize(ask('read', 'y')).allowed).toBe(false)
  })

  it('keeps sudo apart from what is allowed', () => {
    const acl = compileAcl([policy('a', rule('x', ['update', 'sudo']), rule('y', ['update']))])
    expect(acl.authorize({ ...ask('update', 'x'), needsSudo: true })).toMatchObject({ allowed: true, sudo: true })
    expect(acl.authorize({ ...ask('update', 'y'), needsSudo: true })).toMatchObject({ allowed: false, sudo: false })
    expect(acl.authorize(ask('read', 'x'))).toMatchObject({ allowed: false, sudo: true })
  })

  it('shortens wrapping TTLs and denies the impossible', () => {
    const acl = compileAcl([
      policy('a', rule('x', ['read'], { minWrapTtl: 10, maxWrapTtl: 100 }), rule('z', ['read'], { minWrapTtl: 50 })),
      policy('b', rule('x', ['read'], { minWrapTtl: 5, maxWrapTtl: 60 }), rule('z', ['read'], { maxWrapTtl: 20 })),
    ])
    const allowed = [0, 4, 5, 60, 61].map((ttl) => acl.authorize(ask('read', 'x', {}, ttl)).allowed)
    expect(allowed).toEqual([false, false, true, true, false])
    expect([0, 20, 30, 50].some((ttl) => acl.authorize(ask('read', 'z', {}, ttl)).allowed)).toBe(false)
  })
})

describe('parameters', () => {
  const check = (more: Partial<PolicyRule>, data: Record<string, unknown>, operation: Operation = 'update') =>
    compileAcl([policy('p', rule('x', ['update', 'list', 'delete'], more))]).authorize(ask(operation, 'x', data))
      .allowed

  it.each<[Partial<PolicyRule>, Record<string, unknown>, boolean]>([
    [{ allowed: [['a', []]] }, { a: 1 }, true],
    [{ allowed: [['a', []]] }, { A: 1 }, true],
    [{ allowed: [['a', []]] }, { a: 1, b: 1 }, false],
    [{ allowed: [['a', []]] }, {}, true],
    [{ allowed: [['a', ['x', 'y*']]] }, { a: 'yes' }, true],
    [{ allowed: [['a', ['x', 'y*']]] }, { a: 'no' }, false],
    [{ allowed: [['a', ['*end']]] }, { a: 'the end' }, true],
    [{ allowed: [['a', ['*mid*']]] }, { a: 'amidst' }, true],
    [{ allowed: [['a', [1]]] }, { a: 1 }, true],
    [{ allowed: [['a', [1]]] }, { a: exactNumber('1') }, true],
    // A client's object of the same shape is no number.
    [{ allowed: [['a', [1]]] }, { a: { isLosslessNumber: true, value: '1' } }, false],
    [{ allowed: [['a', [true]]] }, { a: false }, false],
    [{ allowed: [['a', [['p', 'q']]]] }, { a: ['p', 'q'] }, true],
    [{ allowed: [['*', []]] }, { anything: 1 }, true],
    [
      {
        allowed: [
          ['*', []],
          ['a', ['x']],
        ],
      },
      { a: 'y', b: 1 },
      false,
    ],
    [
      {
        allowed: [
          ['*', []],
          ['a', ['x']],
        ],
      },
      { a: 'x', b: 1 },
      true,
    ],
    [{ denied: [['a', []]] }, { a: 1 }, false],
    [{ denied: [['a', []]] }, { A: 1 }, false],
    [{ denied: [['a', []]] }, { b: 1 }, true],
    [{ denied: [['a', ['x*']]] }, { a: 'xyz' }, false],
    [{ denied: [['a', ['x*']]] }, { a: 'yz' }, true],
    [{ denied: [['*', []]] }, { b: 1 }, false],
    [{ denied: [['*', []]] }, {}, true],
    [{ allowed: [['*', []]], denied: [['a', []]] }, { a: 1 }, false],
    [{ required: ['R'] }, { r: 1 }, true],
    [{ required: ['r'] }, {}, false],
    [{ required: ['constructor'] }, {}, false],
    [{ denied: [['__proto__', []]] }, JSON.parse('{"__proto__": 1}'), false],
  ])('%j with %j: %j', (more, data, allowed) => {
    expect(check(more, data)).toBe(allowed)
  })

  it('leaves list and delete alone', () => {
    expect(check({ required: ['r'], denied: [['a', []]] }, { a: 1 }, 'list')).toBe(true)
    expect(check({ required: ['r'] }, {}, 'delete')).toBe(true)
  })

  it('merges: any value wins over some values, requirements add up, a restriction in one policy restricts the union', () => {
    const acl = compileAcl([
      policy(
        'a',
        rule('x', ['update'], {
          allowed: [
            ['a', ['1']],
            ['b', ['1']],
          ],
          required: ['a'],
        }),
      ),
      policy(
        'b',
        rule('x', ['update'], {
          allowed: [
            ['a', []],
            ['b', ['2']],
          ],
          required: ['b'],
        }),
      ),
      policy('c', rule('x', ['update'])),
    ])
    const update = (data: Record<string, unknown>) => acl.authorize(ask('update', 'x', data)).allowed
    expect(update({ a: 'any', b: '1' })).toBe(true)
    expect(update({ a: 'any', b: '2' })).toBe(true)
    expect(update({ a: 'any', b: '3' })).toBe(false)
    expect(update({ b: '1' })).toBe(false)
    expect(update({ a: '1', b: '1', c: '1' })).toBe(false)
  })
})

describe('descriptions', () => {
  const acl = compileAcl([
    policy(
      'p',
      rule('a/b', ['read'], { allowed: [['x', ['y']]], required: ['r'], minWrapTtl: 5 }),
      rule('c/*', ['deny']),
      rule('d/+', ['list']),
      rule('kv/deep/down', ['read']),
      rule('+/seen', ['read']),
      rule('hidden/x', ['deny']),
    ),
  ])
  it('shows what it grants as Vault does', () => {
    expect(acl.describe()).toEqual({
      root: false,
      exact_paths: {
        'a/b': {
          capabilities: ['read'],
          allowed_parameters: { x: ['y'] },
          required_parameters: ['r'],
          min_wrapping_ttl: 5,
        },
        'kv/deep/down': { capabilities: ['read'] },
        'hidden/x': { capabilities: ['deny'] },
      },
      glob_paths: {
        'c/': { capabilities: ['deny'] },
        'd/+': { capabilities: ['list'] },
        '+/seen': { capabilities: ['read'] },
      },
    })
    expect(rootAcl.describe().root).toBe(true)
  })
  it('knows which mounts it reaches into', () => {
    const only = compileAcl([
      policy('p', rule('kv/deep/down', ['read']), rule('team/+/x', ['read']), rule('hidden/x', ['deny'])),
    ])
    expect(
      ['kv/', 'kv/deep/', 'team/', 'team/a/', 'hidden/', 'kv', 'other/'].map((prefix) => only.hasAccessUnder(prefix)),
    ).toEqual([true, true, true, true, false, true, false])
    expect(acl.hasAccessUnder('anything/')).toBe(true)
  })
})

describe('templates', () => {
  const templated = [
    policy('p', rule('id/{{identity.entity.id}}/*', ['read']), rule('n/{{identity.entity.name}}', ['read'])),
  ]
  it('skips rules it cannot resolve', () => {
    expect(compileAcl(templated).capabilities('id/{{identity.entity.id}}/x')).toEqual(['deny'])
  })
  it('resolves, but lets no name widen a rule', () => {
    const as = (name: string) => compileAcl(templated, (expression) => (expression.endsWith('.id') ? 'e1' : name))
    expect(as('bob').capabilities('id/e1/x')).toEqual(['read'])
    expect(as('bob').capabilities('n/bob')).toEqual(['read'])
    for (const name of ['*', '+', 'a/b', '', '{{identity.entity.id}}']) {
      expect(as(name).describe().exact_paths).toEqual({})
      expect(Object.keys(as(name).describe().glob_paths)).toEqual(['id/e1/'])
    }
  })
})

// ---------------------------------------------------------------- against a slow matcher written from the rules alone

interface Pattern {
  text: string
  rule: PolicyRule
}

function slowMatches(pattern: string, path: string): boolean {
  if (pattern === '+' || pattern.startsWith('+/') || pattern.includes('/+')) {
    const star = pattern.endsWith('*')
    const wanted = (star ? pattern.slice(0, -1) : pattern).split('/')
    const given = path.split('/')
    if (star ? given.length < wanted.length : given.length !== wanted.length) return false
    return wanted.every(
      (part, i) => part === '+' || part === given[i] || (star && i === wanted.length - 1 && given[i]!.startsWith(part)),
    )
  }
  return pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern
}

function priority(pattern: string): [number, number, number, number, string] {
  const segments = pattern === '+' || pattern.startsWith('+/') || pattern.includes('/+')
  const text = pattern.endsWith('*') ? pattern.slice(0, -1) : pattern
  const first = segments ? pattern.indexOf('+') : text.length
  const plus = segments ? text.split('/').filter((part) => part === '+').length : 0
  return [first, pattern.endsWith('*') ? 0 : 1, -plus, text.length, text]
}

function outranks(text: string, other: string): boolean {
  const [a, b] = [priority(text), priority(other)]
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! > b[i]!
  return false
}

function slowCapabilities(policies: NamedRules[], path: string): string[] {
  const all: Pattern[] = policies.flatMap(({ rules }) => rules.map((one) => ({ text: one.path, rule: one })))
  const wildcard = (text: string) => text.endsWith('*') || text === '+' || text.startsWith('+/') || text.includes('/+')
  const exact = [path, path.replace(/\/$/, '')].find((text) =>
    all.some((one) => one.text === text && !wildcard(one.text)),
  )
  const best = (form: string) =>
    all
      .filter((one) => wildcard(one.text) && slowMatches(one.text, form))
      .map((one) => one.text)
      .reduce<string | undefined>(
        (winner, text) => (winner === undefined || outranks(text, winner) ? text : winner),
        undefined,
      )
  const winner = exact ?? best(path) ?? (path.endsWith('/') ? best(path.slice(0, -1)) : undefined)
  const granted = new Set(all.filter((one) => one.text === winner).flatMap((one) => one.rule.capabilities))
  return granted.size === 0 || granted.has('deny') ? ['deny'] : [...granted].sort()
}

const segment = fc.constantFrom('a', 'b', 'ab', 'ba', 'a+', '+b', '')
const patternText = fc
  .tuple(
    fc.array(fc.oneof(segment, fc.constant('+')), { minLength: 1, maxLength: 4 }),
    fc.constantFrom('', '*', '/*', '/'),
  )
  .map(([segments, end]) => segments.join('/') + end)
  .filter((text) => !text.includes('+*') && !text.startsWith('/'))
const capability = fc.constantFrom<Capability>('create', 'read', 'update', 'delete', 'list', 'sudo')
const rules = fc.array(
  fc.record({
    path: patternText,
    capabilities: fc.oneof(
      { weight: 9, arbitrary: fc.uniqueArray(capability, { maxLength: 3 }) },
      { weight: 1, arbitrary: fc.constant<Capability[]>(['deny']) },
    ),
  }),
  { maxLength: 12 },
)
const pathText = fc
  .tuple(fc.array(segment, { minLength: 1, maxLength: 5 }), fc.constantFrom('', '/'))
  .map(([segments, end]) => segments.join('/') + end)
  .filter((text) => !text.startsWith('/'))

describe('the compiled matcher', () => {
  it('equals the slow one on random policy sets', () => {
    fc.assert(
      fc.property(
        fc.array(rules, { minLength: 1, maxLength: 3 }),
        fc.array(pathText, { minLength: 1, maxLength: 8 }),
        (sets, paths) => {
          const policies = sets.map((list, index) => policy(`p${index}`, ...list))
          const acl = compileAcl(policies)
          for (const path of paths)
            expect([path, acl.capabilities(path)]).toEqual([path, slowCapabilities(policies, path)])
        },
      ),
      { numRuns: process.env.SLOW ? 5_000 : 1_000 },
    )
  }, 120_000)
})
