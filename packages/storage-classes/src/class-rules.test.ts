import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ClassRule, type ClassRules, classRules, StorageClassError, vaultRules } from './index.ts'

const unknown = expect.objectContaining({ code: 'STORAGE_CLASS_UNKNOWN_KEY' })
const refused = expect.objectContaining({ code: 'STORAGE_CLASS_TAG_REFUSED' })
const invalidRule = expect.objectContaining({ code: 'STORAGE_CLASS_INVALID_RULE' })
const invalidMount = expect.objectContaining({ code: 'STORAGE_CLASS_INVALID_MOUNT' })

function withMounts(): ClassRules {
  const rules = classRules(vaultRules)
  rules.registerMount({
    uuid: 'm1',
    keyPrefix: 'logical/m1/',
    mountPath: 'secret/',
    local: false,
    localStorage: ['own/'],
  })
  rules.registerMount({ uuid: 'm2', keyPrefix: 'logical/m2/', mountPath: 'mine/', local: true, localStorage: [] })
  rules.registerMount({ uuid: 'sys1', keyPrefix: 'sys/', mountPath: 'sys/', local: false, localStorage: [] })
  rules.registerNamespace({ uuid: 'n1', path: 'ns1/' })
  return rules
}

describe('keys without a class', () => {
  test.each([
    '',
    'unknown',
    'core/',
    'core/unknown',
    'core/keyring2',
    'core/keyring/x',
    'sys/other',
    'sys/token/other',
    'logical/none/data',
    'logical/m1',
    'logical//data',
    'auth/m1/data',
    'core/mounts/',
    'core/mounts/none',
    'core/mounts/m2',
    'core/local-mounts/m1',
    'core/mounts/n1',
    'core/namespaces/m1',
    'namespaces/none/sys/policy/x',
    'namespaces/m1/sys/policy/x',
    'namespaces/n1',
    'namespaces/n1/',
    'namespaces/n1/logical/m1/data',
    'namespaces/n1/unknown',
  ])('%j', (key) => {
    expect(() => withMounts().classify(key)).toThrow(unknown)
  })
})

describe('registration', () => {
  test('a remount changes the path, a removal the class', () => {
    const rules = withMounts()
    rules.registerMount({ uuid: 'm1', keyPrefix: 'logical/m1/', mountPath: 'new/', local: false, localStorage: [] })
    expect(rules.classify('logical/m1/own/x')).toEqual({ class: 'replicated', mount: 'm1', mountPath: 'new/' })
    rules.unregisterMount('m1')
    rules.unregisterMount('m1')
    expect(() => rules.classify('logical/m1/own/x')).toThrow(unknown)
    rules.unregisterMount('n1')
    expect(rules.classify('namespaces/n1/sys/policy/x')).toMatchObject({ mount: 'n1' })
    rules.unregisterNamespace('n1')
    expect(() => rules.classify('namespaces/n1/sys/policy/x')).toThrow(unknown)
  })

  test('a mount whose data the declared rules cover owns its record only', () => {
    const rules = withMounts()
    expect(rules.classify('core/mounts/sys1')).toEqual({ class: 'replicated', mount: 'sys1', mountPath: 'sys/' })
    expect(rules.classify('sys/policy/x')).toMatchObject({ mount: 'core' })
    rules.registerMount({
      uuid: 't',
      keyPrefix: 'sys/token/',
      mountPath: 'auth/token/',
      local: false,
      localStorage: [],
    })
    expect(rules.classify('sys/token/id/x')).toMatchObject({ class: 'local', mount: 'core' })
  })

  test.each([
    { uuid: '' },
    { uuid: 'core' },
    { uuid: 'a/b' },
    { uuid: 'x'.repeat(65) },
    { keyPrefix: 'logical/m' },
    { keyPrefix: 'logical/other/' },
    { keyPrefix: 'logical/m/deeper/' },
    { keyPrefix: 'elsewhere/' },
    { keyPrefix: 'namespaces//logical/m/' },
    { mountPath: '' },
    { mountPath: '/' },
    { mountPath: 'secret' },
    { mountPath: '/secret/' },
    { localStorage: [''] },
    { localStorage: ['*'] },
    { localStorage: ['/certs/'] },
  ])('refuses %j', (change) => {
    const mount = { uuid: 'm', keyPrefix: 'logical/m/', mountPath: 'secret/', local: false, localStorage: [] }
    const rules = classRules(vaultRules)
    rules.registerMount(mount)
    expect(() => rules.registerMount({ ...mount, ...change })).toThrow(invalidMount)
  })

  test('a uuid is a mount or a namespace', () => {
    expect(() => withMounts().registerNamespace({ uuid: 'm1', path: 'x/' })).toThrow(invalidMount)
  })

  test.each<ClassRule[][]>([
    [
      [
        { prefix: 'a/', class: 'local' },
        { prefix: 'a/', class: 'ignored' },
      ],
    ],
    [[{ prefix: '', class: 'replicated' }]],
    [[{ exact: 'a/', class: 'local' }]],
    [[{ prefix: 'a//b', class: 'local' }]],
    [[{ prefix: 'logical/x/', class: 'local' }]],
    [[{ prefix: 'log', class: 'local' }]],
    [[{ exact: 'auth/x', class: 'local' }]],
    [[{ prefix: 'namespaces/', class: 'local' }]],
    [[{ prefix: 'a', class: 'local', mountFrom: 'mount' }]],
    [[{ prefix: 'a/', class: 'ignored', mountFrom: 'mount' }]],
    [[{ exact: 'a/b', class: 'local', mountFrom: 'mount' }]],
  ])('refuses the rules %j', (rules) => {
    expect(() => classRules(rules)).toThrow(invalidRule)
  })
})

describe('verifyTagged', () => {
  const check = (key: string, storageClass: 'replicated' | 'local', mount: string, only?: 'replicated'): void =>
    withMounts().verifyTagged(key, { class: storageClass, mount }, only && { classes: [only] })

  test.each([
    ['logical/m1/data', 'replicated', 'm1'],
    ['logical/m1/own/data', 'local', 'm1'],
    ['logical/m2/data', 'local', 'm2'],
    ['core/mounts/m1', 'replicated', 'm1'],
    ['core/local-mounts/m2', 'local', 'm2'],
    ['core/keyring', 'replicated', 'core'],
    ['sys/token/id/x', 'local', 'core'],
    ['namespaces/n1/sys/policy/x', 'replicated', 'n1'],
    // Not seen yet: a mount's data may come before its record.
    ['logical/new/data', 'replicated', 'new'],
    ['logical/new/data', 'local', 'new'],
    ['core/mounts/new', 'replicated', 'new'],
    ['core/local-auth/new', 'local', 'new'],
    ['core/namespaces/new', 'replicated', 'new'],
    ['namespaces/new/sys/policy/x', 'replicated', 'new'],
    ['namespaces/new/logical/new2/x', 'replicated', 'new2'],
  ] as const)('takes %s as %s of %s', (key, storageClass, mount) => {
    expect(() => check(key, storageClass, mount)).not.toThrow()
  })

  test.each([
    ['logical/m1/data', 'local', 'm1'],
    ['logical/m1/own/data', 'replicated', 'm1'],
    ['logical/m1/data', 'replicated', 'm2'],
    ['logical/m1/data', 'replicated', 'core'],
    ['logical/m2/data', 'replicated', 'm2'],
    ['core/mounts/m2', 'replicated', 'm2'],
    ['core/mounts/new', 'local', 'new'],
    ['core/mounts/new', 'replicated', 'core'],
    ['core/mounts/core', 'replicated', 'core'],
    ['core/namespaces/m1', 'replicated', 'm1'],
    ['core/keyring', 'local', 'core'],
    ['core/keyring', 'replicated', 'm1'],
    ['core/seal-config', 'replicated', 'core'],
    ['core/cluster/replicated-dr/info', 'local', 'core'],
    ['sys/token/id/x', 'replicated', 'core'],
    ['unknown', 'replicated', 'core'],
    ['', 'replicated', 'core'],
    ['logical/core/x', 'replicated', 'core'],
    ['logical/new', 'replicated', 'new'],
    ['auth/m1/x', 'replicated', 'm1'],
    ['logical/sys1/x', 'replicated', 'sys1'],
    ['logical/n1/x', 'replicated', 'n1'],
    ['namespaces/m1/sys/policy/x', 'replicated', 'm1'],
    ['namespaces/n1/logical/m1/x', 'replicated', 'm1'],
    ['namespaces/core/sys/policy/x', 'replicated', 'core'],
    ['namespaces/n1', 'replicated', 'n1'],
    ['namespaces/n1/sys/policy/x', 'replicated', 'core'],
    ['namespaces/n1/core/seal-config', 'replicated', 'n1'],
  ] as const)('refuses %s as %s of %s', (key, storageClass, mount) => {
    expect(() => check(key, storageClass, mount)).toThrow(refused)
  })

  test('a performance secondary takes no local key', () => {
    expect(() => check('sys/token/id/x', 'local', 'core', 'replicated')).toThrow(refused)
    expect(() => check('logical/new/x', 'local', 'new', 'replicated')).toThrow(refused)
    expect(() => check('logical/new/x', 'replicated', 'new', 'replicated')).not.toThrow()
  })
})

describe('properties', () => {
  const segment = fc.constantFrom(
    'core',
    'sys',
    'token',
    'id',
    'mounts',
    'logical',
    'auth',
    'm1',
    'm2',
    'n1',
    'x',
    '',
    'keyring',
    'namespaces',
    'own',
    'recovery-key',
  )
  const key = fc.array(segment, { minLength: 1, maxLength: 6 }).map((segments) => segments.join('/'))
  const anyKey = fc.oneof(key, fc.string())

  test('every key has exactly one class, or none and is refused', () => {
    const rules = withMounts()
    fc.assert(
      fc.property(anyKey, (candidate) => {
        const first = attempt(() => rules.classify(candidate))
        expect(attempt(() => rules.classify(candidate))).toBe(first)
        if (first === undefined) return
        expect(['replicated', 'local', 'ignored']).toContain(first.class)
      }),
      { numRuns: 500 },
    )
  })

  test('a receiver with the same mounts takes a key in the partition its sender classified, and in no other', () => {
    const [sender, receiver] = [withMounts(), withMounts()]
    const mounts = ['core', 'm1', 'm2', 'sys1', 'n1']
    fc.assert(
      fc.property(anyKey, (candidate) => {
        const sent = attempt(() => sender.classify(candidate))
        for (const mount of mounts) {
          for (const storageClass of ['replicated', 'local'] as const) {
            const taken = attempt(() => {
              receiver.verifyTagged(candidate, { class: storageClass, mount })
              return true
            })
            const right = sent !== undefined && sent.class === storageClass && sent.mount === mount
            expect(taken === true, `${candidate} as ${storageClass} of ${mount}`).toBe(right)
          }
        }
      }),
      { numRuns: 500 },
    )
  })

  test('the longest rule decides, as in a plain search', () => {
    const part = fc.constantFrom('x', 'y', 'xy')
    const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((segments) => segments.join('/'))
    const prefix = fc.tuple(path, fc.boolean()).map(([text, folder]) => (folder ? `${text}/` : text))
    const storageClass = fc.constantFrom('replicated' as const, 'local' as const, 'ignored' as const)
    const rule: fc.Arbitrary<ClassRule> = fc.oneof(
      fc.record({ prefix, class: storageClass }),
      fc.record({ exact: path, class: storageClass }),
    )
    const set = fc.uniqueArray(rule, { maxLength: 12, selector: (r) => ('exact' in r ? `=${r.exact}` : r.prefix) })
    fc.assert(
      fc.property(set, path, (declared, candidate) => {
        const found = attempt(() => classRules(declared).classify(candidate))
        expect(found?.class).toBe(longest(declared, candidate)?.class)
      }),
      { numRuns: 500 },
    )
  })
})

function longest(rules: readonly ClassRule[], key: string): ClassRule | undefined {
  const length = (rule: ClassRule): number => {
    if ('exact' in rule) return rule.exact === key ? Number.POSITIVE_INFINITY : -1
    return key.startsWith(rule.prefix) ? rule.prefix.length : -1
  }
  const best = rules.toSorted((a, b) => length(b) - length(a))[0]
  return best !== undefined && length(best) >= 0 ? best : undefined
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    if (error instanceof StorageClassError) return undefined
    throw error
  }
}
