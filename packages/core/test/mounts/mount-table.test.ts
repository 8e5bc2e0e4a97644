import { memoryStore } from '@lockstep/storage'
import { describe, expect, test } from 'vitest'
import { recordKey } from '../../src/mounts/mount-record.ts'
import { ask, bench, keysUnder } from './table.ts'

const paths = (entries: { path: string }[]) => entries.map(({ path }) => path)

describe('a fresh cluster', () => {
  test('has Vault’s built-in mounts, under the same uuids after a restart', async () => {
    const { store, mounts } = bench()
    await mounts.load()
    expect(paths(mounts.entries('secret'))).toEqual(['cubbyhole/', 'sys/'])
    expect(paths(mounts.entries('auth'))).toEqual(['token/'])
    expect(mounts.entries('secret')[0]!.local).toBe(true)
    const uuids = mounts.entries('secret').map(({ uuid }) => uuid)

    const again = bench({ store }).mounts
    await again.load()
    expect(again.entries('secret').map(({ uuid }) => uuid)).toEqual(uuids)
    expect(again.route('sys/mounts')?.builtin).toBe(true)
    expect((await keysUnder(store, 'core/')).length).toBe(3)
  })
})

describe('enable', () => {
  test.each([
    ['secret', 'kv1/sub', { type: 'kv' }, 'path is already in use at kv1/'],
    ['secret', 'a/b', { type: 'kv' }, 'path is already in use at a/b/c/'],
    ['secret', 'a', { type: 'kv' }, 'path is already in use at a/b/c/'],
    ['secret', 'kv1', { type: 'kv' }, 'path is already in use at kv1/'],
    ['secret', 'sys', { type: 'kv' }, 'cannot mount "sys/"'],
    ['secret', 'auth/x', { type: 'kv' }, 'cannot mount "auth/x/"'],
    ['secret', 'identity/x', { type: 'kv' }, 'cannot mount "identity/x/"'],
    ['secret', 'zz', { type: 'nope' }, 'plugin not found in the catalog: nope'],
    ['secret', 'zz', { type: 'userpass' }, 'plugin not found in the catalog: userpass'],
    ['secret', 'zz', { type: 'system' }, 'mount type of "system" is not mountable'],
    ['auth', 'zz', { type: 'token' }, 'token credential backend cannot be instantiated'],
    ['auth', 'zz', { type: 'kv' }, 'plugin not found in the catalog: kv'],
    ['auth', 'token', { type: 'userpass' }, 'path is already in use at token/'],
    ['auth', 'token/x', { type: 'userpass' }, 'path is already in use at token/'],
    [
      'secret',
      'zz',
      { type: 'kv', config: { default_lease_ttl: 7200, max_lease_ttl: 3600 } },
      'given default lease TTL greater than given max lease TTL',
    ],
  ] as const)('%s %s %j: %s', async (table, path, input, message) => {
    const { mounts } = bench()
    await mounts.load()
    await mounts.enable('secret', 'kv1', { type: 'kv' })
    await mounts.enable('secret', 'a/b/c', { type: 'kv' })
    await expect(mounts.enable(table, path, input)).rejects.toMatchObject({ code: 'CORE_INVALID_REQUEST', message })
  })

  test('kv-v2 is kv with version 2', async () => {
    const { mounts } = bench()
    await mounts.load()
    expect(await mounts.enable('secret', 'v2', { type: 'kv-v2' })).toMatchObject({
      type: 'kv',
      options: { version: '2' },
    })
  })

  test('a mount is served after a restart, with its data', async () => {
    const { store, mounts } = bench()
    await mounts.load()
    await mounts.enable('secret', 'kv1', { type: 'kv' })
    await mounts.enable('auth', 'up', { type: 'userpass', local: true })
    await ask(mounts, 'kv1/x', 'hello')
    const again = bench({ store }).mounts
    await again.load()
    expect(await ask(again, 'kv1/x')).toBe('hello')
    expect(again.route('auth/up/login')?.entry.local).toBe(true)
    expect((await keysUnder(store, 'core/local-auth/')).length).toBe(1)
  })

  test('a failed commit leaves neither record, route nor class behind', async () => {
    let refuse = false
    const { store, mounts, rules } = bench({ refuse: (key) => refuse && key.startsWith('core/mounts/') })
    await mounts.load()
    const before = await keysUnder(store, '')
    refuse = true
    await expect(mounts.enable('secret', 'kv1', { type: 'kv' })).rejects.toMatchObject({ code: 'BACKEND_READ_ONLY' })
    expect(mounts.route('kv1/x')).toBeUndefined()
    expect(await keysUnder(store, '')).toEqual(before)
    const known = mounts.entries('secret').map(({ uuid }) => uuid)
    expect(known.every((uuid) => rules.mountPath(uuid) !== undefined)).toBe(true)
  })

  test('the class of a mount is registered before its record is committed', async () => {
    const { mounts, rules } = bench()
    await mounts.load()
    // The bench's store refuses keys without a class, the mount's record among them.
    const entry = await mounts.enable('secret', 'kv1', { type: 'kv' })
    expect(rules.classify(recordKey(entry))).toMatchObject({ class: 'replicated', mountPath: 'kv1/' })
    expect(rules.classify(`logical/${entry.uuid}/x`)).toMatchObject({ class: 'replicated' })
    expect(rules.classify(`logical/${entry.uuid}/local/x`)).toMatchObject({ class: 'local' })
  })

  test('a factory must not write', async () => {
    const { mounts, store } = bench()
    await mounts.load()
    await expect(mounts.enable('secret', 'e', { type: 'eager' })).rejects.toMatchObject({ code: 'CORE_INTERNAL' })
    expect(await keysUnder(store, 'logical/')).toEqual([])
  })

  test('of many that race for one path, one wins', async () => {
    const { mounts } = bench()
    await mounts.load()
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, () => mounts.enable('secret', 'kv1', { type: 'kv' })),
    )
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1)
    expect(paths(mounts.entries('secret'))).toEqual(['cubbyhole/', 'kv1/', 'sys/'])
  })
})

describe('disable', () => {
  test('deletes every key, the record last, and frees the path', async () => {
    const { mounts, store, rules } = bench()
    await mounts.load()
    const { uuid } = await mounts.enable('secret', 'kv1', { type: 'kv' })
    await Promise.all(Array.from({ length: 700 }, (_, index) => ask(mounts, `kv1/${index}`, 'v')))
    await mounts.disable('secret', 'kv1')
    expect(mounts.route('kv1/1')).toBeUndefined()
    expect(await keysUnder(store, 'logical/')).toEqual([])
    expect(await keysUnder(store, `core/mounts/${uuid}`)).toEqual([])
    expect(rules.mountPath(uuid)).toBeUndefined()
    await mounts.enable('secret', 'kv1', { type: 'kv' })
    expect(await ask(mounts, 'kv1/1')).toBeUndefined()
  })

  test('an absent mount is no error, a built-in one is', async () => {
    const { mounts } = bench()
    await mounts.load()
    await expect(mounts.disable('secret', 'nope')).resolves.toBeUndefined()
    await expect(mounts.disable('secret', 'sys')).rejects.toThrow('cannot unmount "sys/"')
    await expect(mounts.disable('auth', 'token')).rejects.toThrow('token credential backend cannot be disabled')
  })

  test('revokes leases first; when that fails the mount stays, tainted, and can be removed later', async () => {
    let broken = true
    const revoked: string[] = []
    const { mounts, store } = bench({
      table: {
        async revokeLeases(prefix) {
          if (broken) throw new Error('the database is away')
          revoked.push(prefix)
        },
      },
    })
    await mounts.load()
    await mounts.enable('secret', 'kv1', { type: 'kv' })
    await ask(mounts, 'kv1/x', 'v')
    await expect(mounts.disable('secret', 'kv1')).rejects.toThrow('the database is away')
    expect(mounts.route('kv1/x')?.entry.tainted).toBe(true)
    await expect(mounts.enable('secret', 'kv1', { type: 'kv' })).rejects.toThrow('path is already in use')
    broken = false
    await mounts.disable('secret', 'kv1')
    expect(revoked).toEqual(['kv1/'])
    expect(await keysUnder(store, 'logical/')).toEqual([])
  })

  test('goes on after a crash', async () => {
    const store = memoryStore()
    const crashed = bench({ store, table: { revokeLeases: () => new Promise(() => {}) } })
    await crashed.mounts.load()
    await crashed.mounts.enable('secret', 'kv1', { type: 'kv' })
    await ask(crashed.mounts, 'kv1/x', 'v')
    void crashed.mounts.disable('secret', 'kv1')
    await expect.poll(() => crashed.mounts.route('kv1/x')?.entry.tainted).toBe(true)

    const restarted = bench({ store })
    await restarted.mounts.load()
    await expect.poll(() => restarted.mounts.route('kv1/x')).toBeUndefined()
    expect(await keysUnder(store, 'logical/')).toEqual([])
  })

  test('nothing is written behind it: a write under way ends first, a later one is refused', async () => {
    const { mounts, store } = bench()
    await mounts.load()
    await mounts.enable('secret', 'kv1', { type: 'kv' })
    const mount = mounts.route('kv1/x')!
    let written = 0
    const writeUntilRefused = async (writer: number): Promise<never> => {
      for (;;) {
        const key = `k${writer}-${written++}`
        await mount.storage.transaction(async (transaction) => transaction.put(key, Buffer.from('v')))
        await new Promise(setImmediate)
      }
    }
    const writers = Array.from({ length: 5 }, (_, writer) => writeUntilRefused(writer))
    const [disabled, ...refused] = await Promise.allSettled([mounts.disable('secret', 'kv1'), ...writers])
    expect(disabled!.status).toBe('fulfilled')
    expect(refused.map(({ status }) => status)).toEqual(writers.map(() => 'rejected'))
    expect(await keysUnder(store, 'logical/')).toEqual([])
  })

  test('mounting and unmounting at once ends in one of the two states, whole', async () => {
    const { mounts, store } = bench()
    await mounts.load()
    for (let round = 0; round < 10; round++) {
      await Promise.allSettled([
        mounts.enable('secret', 'kv1', { type: 'kv' }).then(() => ask(mounts, 'kv1/x', 'v')),
        mounts.disable('secret', 'kv1'),
        mounts.enable('secret', 'kv1', { type: 'kv' }),
        mounts.disable('secret', 'kv1'),
      ])
      const records = await keysUnder(store, 'core/mounts/')
      const mount = mounts.route('kv1/x')
      expect(records.length).toBe(mount === undefined ? 1 : 2)
      const data = await keysUnder(store, 'logical/')
      expect(data.every((key) => key.startsWith(`logical/${mount?.entry.uuid}/`))).toBe(true)
    }
  })
})

describe('tune and remount', () => {
  test('tune changes the stored record', async () => {
    const { store, mounts } = bench()
    await mounts.load()
    await mounts.enable('secret', 'kv1', { type: 'kv' })
    await mounts.tune('secret', 'kv1', { description: 'x', max_lease_ttl: 100, default_lease_ttl: 50 })
    await expect(mounts.tune('secret', 'kv1', { default_lease_ttl: 500 })).rejects.toThrow(
      'backend max lease TTL of 100 would be less than backend default lease TTL of 500',
    )
    await expect(mounts.tune('secret', 'nope', {})).rejects.toThrow('tune of path "nope/" failed: no mount entry found')
    const again = bench({ store }).mounts
    await again.load()
    expect(again.route('kv1/')?.entry).toMatchObject({
      description: 'x',
      config: { max_lease_ttl: 100, default_lease_ttl: 50 },
    })
  })

  test('keys that audit may show are found by accessor', async () => {
    const { mounts } = bench()
    await mounts.load()
    const config = { audit_non_hmac_request_keys: ['a'], audit_non_hmac_response_keys: ['b'] }
    const { accessor } = await mounts.enable('secret', 'kv1', { type: 'kv', config })
    expect(mounts.nonHmacKeys(accessor)).toEqual({ request: ['a'], response: ['b'] })
    expect(mounts.nonHmacKeys('kv_unknown')).toEqual({ request: [], response: [] })
  })

  test('changed options rebuild the backend over the same data', async () => {
    const { mounts, events } = bench()
    await mounts.load()
    const { uuid } = await mounts.enable('secret', 'kv1', { type: 'kv' })
    await ask(mounts, 'kv1/x', 'v')
    await mounts.tune('secret', 'kv1', { options: { version: '2' } })
    expect(events).toEqual([`close ${uuid}`])
    expect(await ask(mounts, 'kv1/x')).toBe('v')
    await ask(mounts, 'kv1/x', 'w')
    expect(mounts.route('kv1/')?.entry.options).toEqual({ version: '2' })
  })

  test.each([
    ['nope', 'to', 'no matching mount at "nope/"'],
    ['kv1', 'kv2', 'path already in use at "kv2/"'],
    ['kv1', 'kv2/x', 'path already in use at "kv2/"'],
    ['kv1', 'sys/x', 'cannot remount to destination sys/x/'],
    ['kv1', 'auth/x', 'cannot remount to destination auth/x/'],
    ['sys', 'foo', 'cannot remount "sys/"'],
    ['cubbyhole', 'foo', 'cannot remount "cubbyhole/"'],
    ['auth/up', 'foo', 'cannot remount auth mount to non-auth mount "foo/"'],
    ['auth/token', 'auth/foo', 'cannot remount "auth/token/"'],
  ])('remount %s to %s: %s', async (from, to, message) => {
    const { mounts } = bench()
    await mounts.load()
    await mounts.enable('secret', 'kv1', { type: 'kv' })
    await mounts.enable('secret', 'kv2', { type: 'kv' })
    await mounts.enable('auth', 'up', { type: 'userpass' })
    expect(() => mounts.checkRemount(from, to)).toThrow(message)
    await expect(mounts.remount(from, to)).rejects.toThrow(message)
  })

  test('a moved mount keeps uuid and data, and its class follows the path', async () => {
    const { mounts, rules, store } = bench()
    await mounts.load()
    const { uuid } = await mounts.enable('secret', 'kv1', { type: 'kv' })
    await ask(mounts, 'kv1/x', 'v')
    await mounts.remount('kv1', 'team/kv')
    expect(mounts.route('kv1/x')).toBeUndefined()
    expect(await ask(mounts, 'team/kv/x')).toBe('v')
    expect(rules.mountPath(uuid)).toBe('team/kv/')
    const again = bench({ store }).mounts
    await again.load()
    expect(await ask(again, 'team/kv/x')).toBe('v')
  })

  test('a failed move changes nothing', async () => {
    let refuse = false
    const { mounts, rules } = bench({ refuse: (key) => refuse && key.startsWith('core/mounts/') })
    await mounts.load()
    const { uuid } = await mounts.enable('secret', 'kv1', { type: 'kv' })
    refuse = true
    await expect(mounts.remount('kv1', 'kv2')).rejects.toThrow()
    expect(rules.mountPath(uuid)).toBe('kv1/')
    expect(mounts.route('kv1/')?.entry).toMatchObject({ uuid, tainted: false })
    expect(mounts.route('kv2/')).toBeUndefined()
  })
})

describe('isolation', () => {
  test('a backend that does not start fails alone', async () => {
    const { store, mounts } = bench()
    await mounts.load()
    await mounts.enable('secret', 'kv1', { type: 'kv' })
    await expect(mounts.enable('secret', 'f', { type: 'failing' })).rejects.toThrow('no such hardware')
    expect(mounts.route('f/x')).toBeUndefined()

    const [record] = await keysUnder(store, 'core/mounts/')
    await store.put('core/mounts/damaged', Buffer.from('{'))
    const again = bench({ store, table: { factories: { secret: new Map(), auth: new Map() } } }).mounts
    await again.load()
    expect(record).toBeDefined()
    await expect(ask(again, 'kv1/x')).rejects.toMatchObject({ code: 'CORE_INTERNAL' })
  })

  test('periodic work of one backend does not stop that of the next', async () => {
    const done: string[] = []
    const factory = (name: string) => () => ({
      type: 'kv',
      special: {},
      handle: async () => undefined,
      async periodic() {
        done.push(name)
        if (name === 'a') throw new Error('boom')
      },
    })
    let secondary = false
    const { mounts } = bench({
      table: {
        isPerformanceSecondary: () => secondary,
        factories: {
          secret: new Map([
            ['kv', factory('a')],
            ['b', factory('b')],
          ]),
          auth: new Map(),
        },
      },
    })
    await mounts.load()
    await mounts.enable('secret', 'a', { type: 'kv' })
    await mounts.enable('secret', 'b', { type: 'b', local: true })
    await mounts.periodic()
    expect(done.sort()).toEqual(['a', 'b'])
    secondary = true
    await mounts.periodic()
    expect(done.sort()).toEqual(['a', 'b', 'b'])
  })
})
