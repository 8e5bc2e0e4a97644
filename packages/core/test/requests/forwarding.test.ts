import type { BackendResponse } from '@lockstep/backend'
import { memoryStore } from '@lockstep/storage'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { CoreError, type CoreRequest, type TokenEntry } from '../../src/contracts.ts'
import type { ForwardedRequest } from '../../src/replication/forwarding/forwarded-request.ts'
import { type Assembly, assembly } from './assembly.ts'

const one = (text: string) => `1 error occurred:\n\t* ${text}\n\n`

describe('a performance secondary', () => {
  const store = memoryStore()
  const forwarded: { operation: string; path: string; data: unknown; caller: string | undefined }[] = []
  let answer: () => BackendResponse | undefined = () => undefined
  let core: Assembly

  beforeAll(async () => {
    const primary = await assembly({ store })
    await primary.mounts.enable('secret', 'k', { type: 'kv' })
    await primary.mounts.enable('auth', 'up', { type: 'userpass' })
    await primary.ask('update', 'k/a', { data: { x: 1 } })
    await primary.close()
    core = await assembly({
      store,
      secondary: true,
      refuse: (key) => key.startsWith('core/mounts/') || key.startsWith('sys/policy/') || isShared(key),
      forward: async (request: CoreRequest, caller: TokenEntry | undefined) => {
        const { operation, path, data } = request
        forwarded.push({ operation, path, data, caller: caller?.displayName })
        return { response: answer(), place: { epoch: 1, index: 1 } }
      },
    })
    await core.mounts.enable('secret', 'own', { type: 'kv', local: true })
  })
  beforeEach(() => {
    forwarded.length = 0
    answer = () => undefined
  })
  afterAll(() => core.close())

  /** Data of shared mounts: all but cubbyhole and `own`. */
  function isShared(key: string): boolean {
    const uuid = /^(?:logical|auth)\/([^/]+)\//.exec(key)?.[1]
    if (uuid === undefined) return false
    const local = core?.mounts.entries('secret').some((entry) => entry.uuid === uuid && entry.local) ?? true
    return !local
  }

  test('reads locally', async () => {
    expect((await core.ask('read', 'k/a')).data).toEqual({ x: 1 })
    expect(forwarded).toEqual([])
  })

  test('forwards a shared write, whole', async () => {
    expect((await core.ask('update', 'k/b', { data: { y: 2 } })).status).toBe(204)
    expect(forwarded).toEqual([{ operation: 'update', path: 'k/b', data: { y: 2 }, caller: 'root' }])
  })

  test('forwards what the backend declares without trying', async () => {
    answer = () => ({ data: { from: 'primary' } })
    expect((await core.ask('read', 'k/on-primary')).data).toEqual({ from: 'primary' })
    expect(forwarded.length).toBe(1)
  })

  test('never forwards a local mount', async () => {
    expect((await core.ask('update', 'own/x', { data: { y: 2 } })).status).toBe(204)
    expect((await core.ask('read', 'own/on-primary')).code).toBe('CORE_NOT_FOUND')
    expect(forwarded).toEqual([])
  })

  test('makes token, lease and wrapping of the primary’s answer here', async () => {
    answer = () => ({ data: { p: 1 }, secret: { ttl: 60, maxTtl: 60, renewable: false, internalData: {} } })
    const { response } = await core.ask('read', 'k/on-primary')
    expect(await core.leases.lookup(response!.envelope!.lease_id)).toMatchObject({ path: 'k/on-primary' })
    const wrapped = await core.ask('read', 'k/on-primary', { wrapTtl: 60 })
    expect(wrapped.response?.envelope?.wrap_info?.token).toBeTypeOf('string')
  })

  test('forwards changes of shared mounts and policies, keeps those of local mounts', async () => {
    expect((await core.ask('update', 'sys/mounts/n', { data: { type: 'kv' } })).status).toBe(204)
    expect(
      (await core.ask('update', 'sys/policies/acl/p', { data: { policy: 'path "x" { capabilities = ["read"] }' } }))
        .status,
    ).toBe(204)
    expect((await core.ask('update', 'sys/remount', { data: { from: 'k', to: 'k2' } })).status).toBe(204)
    expect((await core.ask('update', 'sys/audit/f', { data: { type: 'file' } })).status).toBe(204)
    expect(forwarded.map(({ path }) => path)).toEqual([
      'sys/mounts/n',
      'sys/policies/acl/p',
      'sys/remount',
      'sys/audit/f',
    ])
    expect((await core.ask('update', 'sys/mounts/l', { data: { type: 'kv', local: true } })).status).toBe(204)
    expect((await core.ask('update', 'sys/audit/l', { data: { type: 'file', local: true } })).status).toBe(204)
    expect((await core.ask('delete', 'sys/audit/l')).status).toBe(204)
    expect(forwarded.length).toBe(4)
  })

  test('refuses before forwarding what local policies refuse', async () => {
    expect((await core.ask('update', 'k/b', { token: 'bad', data: { y: 2 } })).error).toBe('permission denied')
    expect(forwarded).toEqual([])
  })

  test('passes the primary’s errors on', async () => {
    answer = () => {
      throw new CoreError('CORE_INVALID_REQUEST', 'said the primary')
    }
    expect(await core.ask('update', 'k/b', { data: { y: 2 } })).toEqual({
      code: 'CORE_INVALID_REQUEST',
      error: 'said the primary',
    })
  })

  test('rotate is the primary’s', async () => {
    expect((await core.ask('update', 'sys/rotate')).error).toBe('cannot rotate on a replication secondary')
  })
})

describe('the primary, for a secondary', () => {
  let core: Assembly
  let policy: string

  beforeAll(async () => {
    core = await assembly()
    await core.mounts.enable('secret', 'k', { type: 'kv' })
    await core.mounts.enable('secret', 'own', { type: 'kv', local: true })
    await core.mounts.enable('secret', 'eu', { type: 'kv' })
    await core.mounts.enable('auth', 'up', { type: 'userpass' })
    const token = await core.tokenWith(
      'path "k/*" { capabilities = ["read", "create"] }\npath "own/*" { capabilities = ["read"] }',
    )
    policy = (await core.tokens.lookup(token))!.policies[0]!
  })
  beforeEach(() => {
    core.audit.records.length = 0
  })
  afterAll(() => core.close())

  function forward(path: string, change: Partial<ForwardedRequest> = {}, policies: string[] = ['root']) {
    const request: ForwardedRequest = {
      id: 'f1',
      operation: 'update',
      path,
      data: { v: 1 },
      headers: {},
      remoteAddress: '10.0.0.1',
      remotePort: 1,
      wrapTtl: 0,
      caller: {
        accessor: 'a',
        displayName: 'far',
        policies,
        type: 'service',
        entityId: '',
        meta: null,
        cubbyholeId: 'c',
      },
      ...change,
    }
    return core.handler.handleForwarded(request, (point) => point !== 'eu/')
  }

  test('runs the request in the backend, audited', async () => {
    expect(await forward('k/a')).toBeUndefined()
    expect((await core.ask('read', 'k/a')).data).toEqual({ v: 1 })
    expect(core.audit.records.slice(0, 2).map(({ type, mount }) => [type, mount?.point])).toEqual([
      ['request', 'k/'],
      ['response', 'k/'],
    ])
    for (const { request } of core.audit.records.slice(0, 2)) {
      expect(request).toMatchObject({ id: 'f1', remoteAddress: '10.0.0.1', remotePort: 1 })
    }
  })

  test('checks the named policies itself', async () => {
    await expect(forward('k/new', {}, [policy])).resolves.toBeUndefined()
    await expect(forward('k/new', {}, [policy])).rejects.toMatchObject({
      code: 'CORE_PERMISSION_DENIED',
      message: one('permission denied'),
    })
    await expect(forward('k/new', {}, ['no-such-policy'])).rejects.toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
  })

  test.each([
    ['a local mount', 'own/x'],
    ['a mount outside the secondary’s view', 'eu/x'],
    ['an unknown mount', 'nope/x'],
    ['the cubbyhole', 'cubbyhole/x'],
    ['tokens', 'auth/token/create'],
    ['leases', 'sys/leases/revoke-force/k'],
    ['sealing', 'sys/seal'],
    ['replication', 'sys/replication/performance/primary/disable'],
    ['the configuration', 'sys/config/state/sanitized'],
    ['the list of mounts', 'sys/mounts'],
    ['capabilities', 'sys/internal/ui/mounts/k'],
  ])('%s is as good as absent', async (_name, path) => {
    await expect(forward(path)).rejects.toMatchObject({
      code: 'CORE_NOT_FOUND',
      message: `no handler for route "${path}". route entry not found.`,
    })
    expect(core.calls).toEqual([])
  })

  test.each([
    ['sys/mounts/own', {}],
    ['sys/mounts/own/tune', { description: 'x' }],
    ['sys/mounts/eu', {}],
    ['sys/mounts//eu', {}],
    ['sys/mounts//eu//tune', { description: 'x' }],
    ['sys/remount', { from: '/eu', to: 'theirs' }],
    ['sys/mounts/eu/tune', { description: 'x' }],
    ['sys/remount', { from: 'own', to: 'theirs' }],
    ['sys/remount', { from: 'eu/', to: 'theirs' }],
    ['sys/audit/mine', {}],
  ])('nor are they administered by %s %j', async (path, data) => {
    await core.ask('update', 'sys/audit/mine', { data: { type: 'file', local: true } })
    await expect(forward(path, { data })).rejects.toMatchObject({ code: 'CORE_NOT_FOUND' })
    if (path !== 'sys/remount')
      for (const operation of ['delete', 'read'] as const)
        await expect(forward(path, { operation })).rejects.toMatchObject({ code: 'CORE_NOT_FOUND' })
    expect(core.mounts.route('own/x')?.entry.description).toBe('')
    expect(core.mounts.route('eu/x')?.entry.description).toBe('')
  })

  test('nothing local is made', async () => {
    await expect(forward('sys/mounts/l', { data: { type: 'kv', local: true } })).rejects.toThrow('local to one cluster')
  })

  test('changes shared mounts and policies', async () => {
    await forward('sys/mounts/n', { data: { type: 'kv' } })
    expect(core.mounts.route('n/x')?.entry.local).toBe(false)
    await forward('sys/policies/acl/far', { data: { policy: 'path "x" { capabilities = ["read"] }' } })
    expect((await core.ask('read', 'sys/policies/acl/far')).data).toMatchObject({ name: 'far' })
  })

  test('a login comes back as a grant, no token is made here', async () => {
    const before = (await core.tokens.accessors()).length
    const response = await forward('auth/up/login/bob', { data: { password: 'right' }, caller: undefined })
    expect(response?.auth).toMatchObject({ displayName: 'bob', policies: ['reader'] })
    expect((await core.tokens.accessors()).length).toBe(before)
  })

  test('without a caller only open paths', async () => {
    await expect(forward('k/a', { caller: undefined })).rejects.toMatchObject({ message: 'permission denied' })
  })

  test('a leased secret comes back without a lease', async () => {
    const response = await forward('k/creds/x', { operation: 'read', data: {} })
    expect(response?.secret).toMatchObject({ ttl: 60 })
    expect(core.leases.count()).toBe(await leasesOfTokens())
  })

  async function leasesOfTokens(): Promise<number> {
    return (await core.tokens.accessors()).length - 1 // root has no lease
  }

  test('audit fails closed here too', async () => {
    core.audit.fail = 'request'
    await expect(forward('k/unaudited')).rejects.toMatchObject({ code: 'CORE_INTERNAL' })
    core.audit.fail = undefined
    expect((await core.ask('read', 'k/unaudited')).code).toBe('CORE_NOT_FOUND')
  })
})
