import type { AuthGrant } from '@lockstep/backend'
import { backendCompliance } from '@lockstep/backend/compliance'
import { type TestBed, testBed } from '@lockstep/backend/test-bed'
import { beforeEach, describe, expect, it } from 'vitest'
import { approleAuth } from './index.ts'

let bed: TestBed
beforeEach(async () => {
  bed = await testBed(approleAuth())
})

const write = async (path: string, data: Record<string, unknown> = {}) => (await bed.write(path, data))?.data ?? {}
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error) => error.message,
  )
const roleId = async (role: string) => (await bed.read(`role/${role}/role-id`))?.role_id as string
const newSecret = async (role: string, settings: Record<string, unknown> = {}) =>
  (await write(`role/${role}/secret-id`, settings)) as { secret_id: string; secret_id_accessor: string }
const login = async (role_id: string, secret_id?: string, remoteAddress = '127.0.0.1') =>
  (await bed.request('update', 'login', { role_id, secret_id }, { remoteAddress }))?.auth
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

backendCompliance({
  test: it,
  expect,
  factory: approleAuth(),
  object: {
    names: ['a', 'b', 'c'],
    path: (name) => `role/${name}`,
    folder: 'role/',
    first: { token_ttl: '10m' },
    changed: { token_ttl: '20m' },
    view: (data) => data.token_ttl,
  },
})

describe('roles', () => {
  it('look like this', async () => {
    await write('role/R1')
    expect(await bed.read('role/r1')).toEqual({
      bind_secret_id: true,
      local_secret_ids: false,
      secret_id_bound_cidrs: null,
      secret_id_num_uses: 0,
      secret_id_ttl: 0,
      token_bound_cidrs: [],
      token_explicit_max_ttl: 0,
      token_max_ttl: 0,
      token_no_default_policy: false,
      token_num_uses: 0,
      token_period: 0,
      token_policies: [],
      token_ttl: 0,
      token_type: 'default',
    })
    expect(await roleId('R1')).toMatch(uuid)
    expect(await bed.list('role')).toEqual(['r1'])
  })

  it.each([
    [{ bind_secret_id: false }, 'at least one constraint should be enabled on the role'],
    [{ token_ttl: '1h', token_max_ttl: '30m' }, "'token_ttl' cannot be greater than 'token_max_ttl'"],
    [{ secret_id_bound_cidrs: 'bad' }, 'failed to validate CIDR blocks: invalid CIDR address: bad'],
    [{ secret_id_num_uses: -1 }, 'secret_id_num_uses cannot be negative'],
    [{ role_id: 'taken' }, 'role_id already in use'],
    [
      { token_type: 'batch', token_num_uses: 1 },
      "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count",
    ],
  ])('refuse %j', async (settings, message) => {
    await write('role/other', { role_id: 'taken' })
    expect(await failure(bed.write('role/r', settings))).toBe(message)
    expect(await bed.read('role/r')).toBeUndefined()
  })

  it('fix local_secret_ids at creation', async () => {
    await write('role/r', { local_secret_ids: true })
    await write('role/r', { local_secret_ids: true })
    expect(await failure(bed.write('role/r', { local_secret_ids: false }))).toContain(
      'only be modified during role creation',
    )
    expect(await bed.read('role/r/local-secret-ids')).toEqual({ local_secret_ids: true })
  })

  it('warn about a meaningless token type', async () => {
    expect(await bed.write('role/r', { token_type: 'default-batch' })).toEqual({
      warnings: ['default-batch has no useful meaning; adjusting to batch'],
    })
    expect(await bed.read('role/r')).toMatchObject({ token_type: 'batch' })
  })

  it('warn about lifetimes beyond the mount', async () => {
    expect((await bed.write('role/r', { token_max_ttl: '9999h' }))?.warnings?.[0]).toContain('will be truncated')
  })

  it('free their role id when deleted or when it changes', async () => {
    await write('role/a', { role_id: 'one' })
    await write('role/a/role-id', { role_id: 'two' })
    await write('role/b', { role_id: 'one' })
    await bed.request('delete', 'role/a')
    await write('role/c', { role_id: 'two' })
    const { secret_id } = await newSecret('c')
    expect((await login('two', secret_id))?.metadata).toEqual({ role_name: 'c' })
  })
})

describe('role settings one by one', () => {
  it.each([
    ['policies', { token_policies: ['a', 'b'] }, { token_policies: [] }],
    ['token-ttl', { token_ttl: 300 }, { token_ttl: 0 }],
    ['token-max-ttl', { token_max_ttl: 300 }, { token_max_ttl: 0 }],
    ['token-num-uses', { token_num_uses: 5 }, { token_num_uses: 0 }],
    ['token-bound-cidrs', { token_bound_cidrs: ['10.0.0.0/8'] }, { token_bound_cidrs: null }],
    ['period', { token_period: 300 }, { token_period: 0 }],
    ['secret-id-bound-cidrs', { secret_id_bound_cidrs: ['10.0.0.0/8'] }, { secret_id_bound_cidrs: null }],
    ['bound-cidr-list', { bound_cidr_list: ['10.0.0.0/8'] }, { bound_cidr_list: null }],
    ['secret-id-num-uses', { secret_id_num_uses: 5 }, { secret_id_num_uses: 0 }],
    ['secret-id-ttl', { secret_id_ttl: 300 }, { secret_id_ttl: 0 }],
  ])('%s', async (segment, value, reset) => {
    const path = `role/r/${segment}`
    expect(await bed.request('read', path)).toBeUndefined()
    expect(await failure(bed.write(path, value))).toBe('unsupported path')
    await write('role/r')
    expect(await failure(bed.write(path, {}))).toBe(`missing ${Object.keys(value)[0]}`)
    await write(path, value)
    expect(await bed.read(path)).toEqual(value)
    await bed.request('delete', path)
    expect(await bed.read(path)).toEqual(reset)
  })

  it('bind-secret-id', async () => {
    await write('role/r', { token_bound_cidrs: '127.0.0.1' })
    await write('role/r/bind-secret-id', { bind_secret_id: false })
    expect(await login(await roleId('r'))).toMatchObject({ metadata: { role_name: 'r' } })
    await bed.request('delete', 'role/r/bind-secret-id')
    expect(await failure(login(await roleId('r')))).toBe('missing secret_id')
  })
})

describe('secret ids', () => {
  beforeEach(() => write('role/r'))

  it('are made, looked up, listed and destroyed', async () => {
    const made = await newSecret('r', { metadata: '{"a":"b"}', cidr_list: '127.0.0.1/32', ttl: '1h', num_uses: 3 })
    expect(made).toEqual({
      secret_id: expect.stringMatching(uuid),
      secret_id_accessor: expect.stringMatching(uuid),
      secret_id_num_uses: 3,
      secret_id_ttl: 3600,
    })
    const seen = {
      cidr_list: ['127.0.0.1/32'],
      creation_time: '2026-01-01T00:00:00.000Z',
      expiration_time: '2026-01-01T01:00:00.000Z',
      last_updated_time: '2026-01-01T00:00:00.000Z',
      metadata: { a: 'b' },
      secret_id_accessor: made.secret_id_accessor,
      secret_id_num_uses: 3,
      secret_id_ttl: 3600,
      token_bound_cidrs: [],
    }
    const { secret_id, secret_id_accessor } = made
    expect(await write('role/r/secret-id/lookup', { secret_id })).toEqual(seen)
    expect(await write('role/r/secret-id-accessor/lookup', { secret_id_accessor })).toEqual(seen)
    expect(await bed.list('role/r/secret-id')).toEqual([secret_id_accessor])
    await write('role/r/secret-id-accessor/destroy', { secret_id_accessor })
    expect(await bed.write('role/r/secret-id/lookup', { secret_id })).toBeUndefined()
    expect(await bed.list('role/r/secret-id')).toEqual([])
    expect(await bed.store.list('accessor/')).toEqual([])
    const other = await newSecret('r')
    await bed.request('delete', 'role/r/secret-id/destroy', { secret_id: other.secret_id })
    expect(await failure(login(await roleId('r'), other.secret_id))).toBe('invalid role or secret ID')
  })

  it('can be chosen', async () => {
    expect(await write('role/r/custom-secret-id', { secret_id: 'abc' })).toMatchObject({ secret_id: 'abc' })
    expect(await failure(bed.write('role/r/custom-secret-id', { secret_id: 'abc' }))).toBe(
      'failed to store secret_id: SecretID is already registered',
    )
    expect(await failure(bed.write('role/r/custom-secret-id', {}))).toBe('missing secret_id')
    expect(await login(await roleId('r'), 'abc')).toBeDefined()
  })

  it('never rest in the clear', async () => {
    const { secret_id, secret_id_accessor } = await newSecret('r')
    await write('role/r/custom-secret-id', { secret_id: 'chosen-secret' })
    const id = await roleId('r')
    for await (const [key, value] of bed.store.scan()) {
      const text = key + Buffer.from(value).toString()
      expect(text).not.toContain(secret_id)
      expect(text).not.toContain('chosen-secret')
      expect(key).not.toContain(secret_id_accessor)
      expect(key).not.toContain(id)
    }
  })

  it('belong to one role', async () => {
    await write('role/other')
    const { secret_id, secret_id_accessor } = await newSecret('r')
    expect(await failure(login(await roleId('other'), secret_id))).toBe('invalid role or secret ID')
    expect(await bed.write('role/other/secret-id-accessor/lookup', { secret_id_accessor })).toMatchObject({
      status: 404,
    })
    expect(await failure(bed.write('role/other/secret-id-accessor/destroy', { secret_id_accessor }))).toContain(
      'failed to find',
    )
    expect(await login(await roleId('r'), secret_id)).toBeDefined()
  })

  it('go with their role, even when it comes back', async () => {
    await write('role/r', { role_id: 'fixed' })
    const { secret_id } = await newSecret('r')
    await bed.request('delete', 'role/r')
    expect(await bed.store.list('secret_id/')).toEqual([])
    await write('role/r', { role_id: 'fixed' })
    expect(await failure(login('fixed', secret_id))).toBe('invalid role or secret ID')
  })

  it.each([
    [{ metadata: 'bad' }, 'failed to parse metadata: failed to parse the input: invalid <key,value> format'],
    [{ metadata: '[1]' }, 'failed to parse metadata: failed to parse the input: invalid <key,value> format'],
    [{ cidr_list: 'bad' }, 'failed to validate CIDR blocks: invalid CIDR address: bad'],
    [{ num_uses: -1 }, 'num_uses cannot be negative'],
    [{ num_uses: 9 }, "num_uses cannot be higher than the role's secret_id_num_uses"],
    [{ num_uses: 0 }, "num_uses cannot be higher than the role's secret_id_num_uses"],
    [{ ttl: '2h' }, "ttl cannot be longer than the role's secret_id_ttl"],
    [
      { cidr_list: '192.168.0.0/16' },
      'failed to verify subset relationship between CIDR blocks on the role ["10.0.0.0/8"] and CIDR blocks on the secret ID ["192.168.0.0/16"]',
    ],
  ])('refuse %j', async (settings, message) => {
    await write('role/r', { secret_id_num_uses: 5, secret_id_ttl: '1h', secret_id_bound_cidrs: '10.0.0.0/8' })
    expect(await failure(bed.write('role/r/secret-id', settings))).toBe(message)
  })

  it('need a role', async () => {
    await expect(bed.write('role/none/secret-id')).rejects.toMatchObject({
      code: 'BACKEND_NOT_FOUND',
      message: 'role "none" does not exist',
    })
    expect(await failure(bed.request('list', 'role/none/secret-id'))).toBe('role "none" does not exist')
  })
})

describe('login', () => {
  beforeEach(() => write('role/r', { token_policies: 'a,b', token_ttl: '10m', role_id: 'id' }))

  it('grants what the role has', async () => {
    const { secret_id } = await newSecret('r', { metadata: 'env=prod' })
    expect(await login('id', secret_id)).toEqual({
      displayName: '',
      alias: 'id',
      metadata: { env: 'prod', role_name: 'r' },
      policies: ['a', 'b'],
      ttl: 600,
      maxTtl: 0,
      period: 0,
      explicitMaxTtl: 0,
      numUses: 0,
      renewable: true,
      tokenType: 'default',
      noDefaultPolicy: false,
      boundCidrs: [],
      internalData: { role_name: 'r' },
    })
    expect(bed.backend.special.unauthenticated).toEqual(['login'])
  })

  it('reads one record and writes none', async () => {
    const { secret_id } = await newSecret('r')
    await login('id', secret_id)
    bed.storageCalls()
    await login('id', secret_id)
    expect(bed.storageCalls()).toEqual({ reads: 1, writes: 0 })
    bed.readOnly.value = true
    expect(await login('id', secret_id)).toBeDefined()
  })

  it.each([
    [undefined, undefined, 'missing role_id'],
    ['x', undefined, 'invalid role or secret ID'],
    ['id', undefined, 'missing secret_id'],
    ['id', 'x', 'invalid role or secret ID'],
    ['x', 'x', 'invalid role or secret ID'],
  ])('refuses %s %s', async (role_id, secret_id, message) => {
    expect(await failure(login(role_id as string, secret_id))).toBe(message)
  })

  it('counts uses, also of concurrent logins', async () => {
    const { secret_id, secret_id_accessor } = await newSecret('r', { num_uses: 3 })
    const results = await Promise.all(Array.from({ length: 8 }, () => failure(login('id', secret_id))))
    expect(results.filter((result) => result === 'no error')).toHaveLength(3)
    expect(results.filter((result) => result === 'invalid role or secret ID')).toHaveLength(5)
    expect(await bed.write('role/r/secret-id-accessor/lookup', { secret_id_accessor })).toMatchObject({ status: 404 })
    expect(await bed.store.list('')).toEqual(['role/', 'role_id/', 'salt'])
  })

  it('asks the primary to count uses, unless ids are local', async () => {
    const { secret_id } = await newSecret('r', { num_uses: 3 })
    bed.readOnly.value = true
    await expect(login('id', secret_id)).rejects.toMatchObject({ code: 'BACKEND_READ_ONLY' })
  })

  it('stops when the id expires', async () => {
    const { secret_id } = await newSecret('r', { ttl: '1m' })
    expect(await login('id', secret_id)).toBeDefined()
    bed.clock.now += 60_000
    expect(await failure(login('id', secret_id))).toBe('invalid role or secret ID')
    expect(await bed.list('role/r/secret-id')).toEqual([])
  })

  it('only from bound addresses', async () => {
    const bound = await newSecret('r', { cidr_list: '10.0.0.0/8' })
    expect(await failure(login('id', bound.secret_id))).toBe('invalid role or secret ID')
    expect(await login('id', bound.secret_id, '10.1.1.1')).toBeDefined()
    const token = await newSecret('r', { token_bound_cidrs: '10.0.0.0/8' })
    // Whoever logs in may hand the token to the host it is bound to.
    expect(await login('id', token.secret_id)).toMatchObject({ boundCidrs: ['10.0.0.0/8'] })
    await write('role/r', { secret_id_bound_cidrs: '192.168.0.0/16' })
    const { secret_id } = await newSecret('r')
    expect(await failure(login('id', secret_id))).toBe('invalid role or secret ID')
    expect(await login('id', secret_id, '192.168.1.1')).toBeDefined()
  })

  it('without a secret id is still bound to addresses', async () => {
    await write('role/r', { bind_secret_id: false, secret_id_bound_cidrs: '10.0.0.0/8' })
    expect(await failure(login('id'))).toBe('invalid role or secret ID')
    expect(await login('id', undefined, '10.1.1.1')).toBeDefined()
  })

  it('renews with the role as it is now', async () => {
    const { secret_id } = await newSecret('r')
    const auth = (await login('id', secret_id)) as AuthGrant
    await write('role/r', { token_ttl: '20m', token_period: '5m' })
    expect((await bed.request('renew', 'login', {}, { auth }))?.auth).toMatchObject({ ttl: 1200, period: 300 })
    await bed.request('delete', 'role/r')
    expect(await failure(bed.request('renew', 'login', {}, { auth }))).toContain('does not exist during renewal')
  })
})

describe('local secret ids', () => {
  it('stay in local storage', async () => {
    await write('role/r', { local_secret_ids: true, role_id: 'id' })
    const { secret_id, secret_id_accessor } = await newSecret('r')
    expect(await login('id', secret_id)).toBeDefined()
    expect(await bed.store.list('')).toEqual(['accessor_local/', 'role/', 'role_id/', 'salt', 'secret_id_local/'])
    expect(bed.backend.special.localStorage).toEqual(['secret_id_local/', 'accessor_local/'])
    await write('role/r/secret-id-accessor/destroy', { secret_id_accessor })
    expect(await bed.store.list('')).toEqual(['role/', 'role_id/', 'salt'])
  })
})

describe('replication', () => {
  it('ends the cached life of a role and its id', async () => {
    const primary = await testBed(approleAuth(), { store: bed.store })
    await write('role/r', { role_id: 'one' })
    const { secret_id } = await newSecret('r')
    expect(await login('one', secret_id)).toBeDefined()
    await primary.write('role/r/role-id', { role_id: 'two' })
    const keys = [...(await bed.store.list('role_id/')).map((name) => `role_id/${name}`), 'role/r']
    for (const key of keys) bed.backend.invalidate?.(key)
    expect(await failure(login('one', secret_id))).toBe('invalid role or secret ID')
    expect(await login('two', secret_id)).toBeDefined()
  })

  it('finds a salt that arrives later', async () => {
    expect(await failure(login('one', 'x'))).toBe('invalid role or secret ID')
    const primary = await testBed(approleAuth(), { store: bed.store })
    await primary.write('role/r', { role_id: 'one' })
    const made = await primary.write('role/r/secret-id')
    expect(await login('one', made?.data?.secret_id as string)).toBeDefined()
  })
})

describe('tidy', () => {
  it('removes what is of no use, keeps the rest', async () => {
    await write('role/r', { role_id: 'id' })
    const kept = await newSecret('r')
    await newSecret('r', { ttl: '1m' })
    await bed.store.put('secret_id/gone-role/x', Buffer.from(JSON.stringify({ accessor: 'x', expires: 0 })))
    await bed.store.put('accessor/dangling', Buffer.from('secret_id/none/none'))
    bed.clock.now += 60_000
    expect(await bed.request('update', 'tidy/secret-id')).toMatchObject({ status: 202 })
    await bed.backend.close?.()
    expect(await bed.store.list('secret_id/')).toHaveLength(1)
    expect(await bed.store.list('accessor/')).toHaveLength(1)
    expect(await login('id', kept.secret_id)).toBeDefined()
  })

  it('runs by itself every hour', async () => {
    await write('role/r')
    await newSecret('r', { ttl: '1m' })
    bed.clock.now += 30 * 60_000
    await bed.backend.periodic?.({} as never)
    expect(await bed.store.list('accessor/')).toHaveLength(1)
    bed.clock.now += 30 * 60_000
    await bed.backend.periodic?.({} as never)
    expect(await bed.store.list('accessor/')).toHaveLength(0)
  })
})
