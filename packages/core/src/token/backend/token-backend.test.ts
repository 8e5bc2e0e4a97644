import { randomBytes } from 'node:crypto'
import type { BackendStorage, Operation } from '@lockstep/backend'
import { parseHcl } from '@lockstep/hcl'
import { memoryStore, prefixedStore } from '@lockstep/storage'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AuthBlock, CoreBackendRequest, CoreBackendResponse, TokenEntry } from '../../contracts.ts'
import { type HoldableLeaseManager, leaseManager } from '../../leases/lease-manager.ts'
import { policyStore } from '../../policy/policy-store.ts'
import { tokenStore } from '../token-store.ts'
import { tokenBackend } from './token-backend.ts'

const START = 1_800_000_000_000
const hour = 3600
const log = { debug() {}, info() {}, warn() {}, error() {} }

/** The parser is slow to call and always asked the same. */
const parsed = new Map<string, ReturnType<typeof parseHcl>>()
function parseOnce(text: string): ReturnType<typeof parseHcl> {
  const known = parsed.get(text) ?? parseHcl(text)
  parsed.set(text, known)
  return known
}

async function world() {
  const storage = memoryStore()
  const clock = { now: () => Date.now() }
  const random = (bytes: number) => randomBytes(bytes)
  const policies = policyStore({ storage: prefixedStore(storage, 'sys/policy/'), parseHcl: parseOnce })
  await policies.loadDefaults()
  const maker = '{ capabilities = ["update", "read", "list"] }'
  await policies.set('mk', `path "auth/token/*" ${maker}`)
  await policies.set('sudoer', 'path "auth/token/create" { capabilities = ["update", "sudo"] }')
  const leases: HoldableLeaseManager = leaseManager({
    storage,
    clock,
    log,
    random,
    mountTtl: () => ({ default: 768 * hour, max: 768 * hour }),
    revokeBackend: async () => {},
    renewBackend: async (lease, increment) =>
      backend.handle({
        ...plain('renew', lease.path.slice('auth/token/'.length), {}),
        auth: lease.auth!,
        lease: { id: lease.id, internalData: {}, issueTime: lease.issueTime, increment },
      }),
    revokeToken: (lease) => tokens.revokeLease(lease),
    lookupToken: (id) => tokens.lookup(id),
  })
  const flip = (bytes: Uint8Array) => bytes.map((byte) => byte ^ 0x55)
  const tokens = tokenStore({ storage, leases, clock, log, random, sealBatch: flip, openBatch: flip })
  const backend = tokenBackend({
    storage: prefixedStore(storage, 'sys/token/'),
    tokens,
    leases,
    clock,
    log,
    mountTtl: () => ({ default: 768 * hour, max: 768 * hour }),
    policyExists: (name) => policies.exists(name),
  })

  function plain(operation: Operation, path: string, data: Record<string, unknown>) {
    const mount = { mountPoint: 'auth/token/', mountAccessor: 'auth_token_0', storage: {} as BackendStorage }
    return { id: 'r', operation, path, data, headers: {}, remoteAddress: '127.0.0.1', wrapTtl: 0, ...mount }
  }

  async function call(
    operation: Operation,
    path: string,
    data: Record<string, unknown> = {},
    caller: TokenEntry = root,
  ) {
    const request = { ...plain(operation, path, data), token: caller, acl: await policies.acl(caller.policies) }
    return (await backend.handle(request as unknown as CoreBackendRequest)) as CoreBackendResponse | undefined
  }
  const failure = (operation: Operation, path: string, data: Record<string, unknown> = {}, caller: TokenEntry = root) =>
    call(operation, path, data, caller).then(
      () => 'accepted',
      (error: Error) => error.message,
    )

  const root = await tokens.create({ policies: ['root'], path: 'auth/token/root', displayName: 'root', ttl: 0 })
  /** Creates with `data` and gives the entry, its auth block and the warnings. */
  async function create(data: Record<string, unknown> = {}, caller: TokenEntry = root, path = 'create') {
    const response = (await call('update', path, data, caller))!
    const auth = response.authBlock as AuthBlock
    return { auth, warnings: response.warnings, entry: (await tokens.lookup(auth.client_token))! }
  }
  return { call, failure, create, root, tokens, backend, leases, storage }
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: START })
})
afterEach(() => {
  vi.useRealTimers()
})

const seconds768h = 768 * hour
const missing = (name: string) => `Policy "${name}" does not exist`

describe('create', () => {
  // What OpenBao 2.6.2 answers to root, its "768h" written as Vault does.
  it.each<[Record<string, unknown>, Partial<AuthBlock>, string[]?]>([
    [{}, { policies: ['root'], lease_duration: 0, renewable: false, orphan: false, token_type: 'service' }],
    [{ ttl: '1h' }, { policies: ['root'], lease_duration: hour, renewable: true }],
    [{ ttl: 3600 }, { lease_duration: hour }],
    [{ lease: '1h', policies: ['default'] }, { lease_duration: hour }],
    [
      { ttl: '9999h' },
      { lease_duration: seconds768h },
      ['TTL of "9999h0m0s" exceeded the effective max_ttl of "768h0m0s"; TTL value is capped accordingly'],
    ],
    [
      { period: '9999h' },
      { lease_duration: seconds768h },
      ['period of "9999h0m0s" exceeded the effective max_ttl of "768h0m0s"; period value is capped accordingly'],
    ],
    [
      { explicit_max_ttl: '1h', ttl: '2h', policies: ['default'] },
      { lease_duration: hour },
      ['TTL of "2h0m0s" exceeded the effective max_ttl of "1h0m0s"; TTL value is capped accordingly'],
    ],
    [
      { policies: ['default'], period: '1h', explicit_max_ttl: '30m', ttl: '5m' },
      { lease_duration: 1800 },
      ['period of "1h0m0s" exceeded the effective max_ttl of "30m0s"; period value is capped accordingly'],
    ],
    [{ explicit_max_ttl: '1h' }, { policies: ['root'], lease_duration: hour }],
    [{ policies: 'a,b' }, { policies: ['a,b', 'default'] }, [missing('a,b')]],
    [{ policies: ['a', 'Default'] }, { policies: ['a', 'default'], token_policies: ['a', 'default'] }, [missing('a')]],
    [{ policies: ['  X '], ttl: 0 }, { policies: ['default', 'x'], lease_duration: seconds768h }, [missing('x')]],
    [{ policies: ['root', 'a'] }, { policies: ['root'], lease_duration: 0 }],
    [{ policies: [] }, { policies: ['root'] }],
    [
      { policies: ['default'], no_default_policy: true },
      { policies: [], lease_duration: seconds768h },
    ],
    [{ policies: ['a'], no_default_policy: true }, { policies: ['a'] }, [missing('a')]],
    [{ num_uses: 3, policies: ['default'] }, { num_uses: 3 }],
    [{ no_parent: true, policies: ['default'] }, { orphan: true }],
    [
      { renewable: false, policies: ['default'] },
      { renewable: false, lease_duration: seconds768h },
    ],
    [{ meta: { a: 1 }, policies: ['default'] }, { metadata: { a: '1' } }],
    [{ policies: ['default'] }, { metadata: null, num_uses: 0, entity_id: '', mfa_requirement: null }],
    [
      { type: 'batch', policies: ['default'] },
      { token_type: 'batch', accessor: '', renewable: false },
    ],
    [{ type: 'batch', policies: ['default'], renewable: true }, { renewable: false }],
  ])('%j', async (data, auth, warnings) => {
    const made = await (await world()).create(data)
    expect(made.auth).toMatchObject(auth)
    expect(made.warnings).toEqual(warnings)
  })

  it.each<[Record<string, unknown>, string]>([
    [{ ttl: 'zz' }, 'time: invalid duration "zz"'],
    [{ ttl: '-1h' }, 'ttl must be positive'],
    [{ period: '-1s' }, 'period must be positive'],
    [{ explicit_max_ttl: 'zz' }, 'time: invalid duration "zz"'],
    [{ explicit_max_ttl: '-1s' }, 'explicit_max_ttl must be positive'],
    [{ num_uses: -1 }, 'number of uses cannot be negative'],
    [{ type: 'foo' }, "invalid 'token_type' value"],
    [{ type: 'batch' }, 'batch tokens cannot be root tokens'],
    [{ type: 'batch', policies: ['default'], period: '1h' }, 'batch tokens cannot have "period" set'],
    [
      { type: 'batch', policies: ['default'], num_uses: 1, explicit_max_ttl: '1h' },
      'batch tokens cannot have "explicit_max_ttl" set',
    ],
    [{ id: 'a.b' }, "custom token ID cannot have a '.' in the value"],
    [{ id: 's.abc' }, "custom token ID cannot have the 's.' prefix"],
    [{ id: 'hvs.abc' }, "custom token ID cannot have the 'hvs.' prefix"],
    [{ id: 'b.xxx' }, "custom token ID cannot have a '.' in the value"],
    [{ policies: ['response-wrapping'] }, 'cannot assign policy "response-wrapping"'],
    [{ entity_alias: 'x' }, "'entity_alias' is only allowed in combination with token role"],
    [{ meta: 'x' }, 'Field validation failed: error converting input for field "meta": invalid key pair'],
  ])('refuses %j', async (data, message) => {
    expect(await (await world()).failure('update', 'create', data)).toBe(message)
  })

  it('takes a custom id once, with a warning', async () => {
    const { create, failure, tokens } = await world()
    const { auth, warnings } = await create({ id: 'foo', policies: ['default'] })
    expect(auth.client_token).toBe('foo')
    expect(warnings?.[0]).toMatch(/^Supplying a custom ID for the token uses the weaker SHA1 hashing/)
    expect(await tokens.lookup('foo')).toMatchObject({ policies: ['default'] })
    expect(await failure('update', 'create', { id: 'foo' })).toBe('cannot create a token with a duplicate ID')
  })

  it('makes display names safe', async () => {
    const { create } = await world()
    const name = async (display_name?: string) =>
      (await create(display_name === undefined ? {} : { display_name })).entry.displayName
    expect(await name()).toBe('token')
    expect(await name('Hi there!_x ')).toBe('token-Hi-there--x')
  })

  it('keeps ordinary tokens within their own rights', async () => {
    const { create, failure } = await world()
    const { entry: mk } = await create({ policies: ['mk', 'a'] })
    const as = (data: Record<string, unknown>, path = 'create') => failure('update', path, data, mk)
    expect(await as({ policies: ['b'] })).toBe('child policies must be subset of parent')
    expect(await as({ policies: ['root'] })).toBe('child policies must be subset of parent')
    expect(await as({ no_parent: true })).toBe('root or sudo privileges required to create orphan token')
    expect(await as({ period: '1h' })).toBe('root or sudo privileges required to create periodic token')
    expect(await as({ id: 'x1' })).toBe('root or sudo privileges required to specify token id')
    expect((await create({}, mk)).auth.policies).toEqual(['a', 'default', 'mk'])
    expect((await create({ policies: ['a'] }, mk)).auth).toMatchObject({ policies: ['a', 'default'], orphan: false })
    expect((await create({ policies: ['a'], no_default_policy: true }, mk)).auth.policies).toEqual(['a'])
    expect((await create({ policies: ['a'] }, mk, 'create-orphan')).auth.orphan).toBe(true)
  })

  it('lets sudo do more, but not make root', async () => {
    const { create, failure } = await world()
    const { entry: su } = await create({ policies: ['sudoer'] })
    expect((await create({ policies: ['b'] }, su)).auth.policies).toEqual(['b', 'default'])
    expect((await create({ no_parent: true }, su)).auth.orphan).toBe(true)
    expect((await create({ period: '1h' }, su)).auth.lease_duration).toBe(hour)
    expect((await create({ id: 'x1' }, su)).auth.client_token).toBe('x1')
    expect(await failure('update', 'create', { policies: ['root'] }, su)).toBe(
      'root tokens may not be created without parent token being root',
    )
  })

  it('is not for limited, batch and expiring root tokens', async () => {
    const { create, failure } = await world()
    const limited = await create({ policies: ['mk'], num_uses: 5 })
    expect(await failure('update', 'create', {}, limited.entry)).toBe(
      'restricted use token cannot generate child tokens',
    )
    const batch = await create({ policies: ['mk'], type: 'batch' })
    expect(await failure('update', 'create', {}, batch.entry)).toBe('batch tokens cannot create more tokens')
    const expiring = await create({ ttl: '1h' })
    expect(await failure('update', 'create', {}, expiring.entry)).toBe(
      'expiring root tokens cannot create non-expiring root tokens',
    )
    expect((await create({ ttl: '2h' }, expiring.entry)).auth.lease_duration).toBe(2 * hour)
  })

  it('hands entity and bound CIDRs down to children, not to orphans', async () => {
    const { create, tokens } = await world()
    const parent = await tokens.create({
      policies: ['default', 'mk'],
      path: 'auth/x/login',
      ttl: hour,
      entityId: 'e1',
      boundCidrs: ['10.0.0.0/8'],
    })
    expect((await create({}, parent)).entry).toMatchObject({ entityId: 'e1', boundCidrs: ['10.0.0.0/8'] })
    expect((await create({}, parent, 'create-orphan')).entry).toMatchObject({ entityId: '', boundCidrs: [] })
  })
})

describe('roles', () => {
  const shown = {
    allowed_entity_aliases: null,
    allowed_policies: [],
    allowed_policies_glob: [],
    disallowed_policies: [],
    disallowed_policies_glob: [],
    explicit_max_ttl: 0,
    name: 'r1',
    orphan: false,
    path_suffix: '',
    period: 0,
    renewable: true,
    token_explicit_max_ttl: 0,
    token_no_default_policy: false,
    token_period: 0,
    token_type: 'default-service',
  }
  it.each<[Record<string, unknown>, Record<string, unknown>, string[]?]>([
    [{}, {}],
    [{ allowed_policies: 'b,A' }, { allowed_policies: ['a', 'b'] }],
    [{ allowed_policies_glob: 'x*' }, { allowed_policies_glob: ['x*'] }],
    [{ disallowed_policies: ['c'] }, { disallowed_policies: ['c'] }],
    [{ token_type: 'default-batch' }, { token_type: 'default-batch' }],
    [{ explicit_max_ttl: '1h' }, { explicit_max_ttl: hour, token_explicit_max_ttl: hour }],
    [{ token_explicit_max_ttl: '2h' }, { token_explicit_max_ttl: 2 * hour }],
    [
      { period: '1h', token_period: '2h' },
      { token_period: 2 * hour },
      ["Both 'token_period' and deprecated 'period' value supplied, ignoring the deprecated value"],
    ],
    [{ path_suffix: 'abc' }, { path_suffix: 'abc' }],
    [{ token_num_uses: 3 }, { token_num_uses: 3 }],
    [{ token_bound_cidrs: '1.2.3.4' }, { token_bound_cidrs: ['1.2.3.4'] }],
    [{ allowed_entity_aliases: 'a,B' }, { allowed_entity_aliases: ['a', 'b'] }],
  ])('%j', async (data, more, warnings) => {
    const { call } = await world()
    expect((await call('update', 'roles/r1', data))?.warnings).toEqual(warnings)
    expect((await call('read', 'roles/r1'))?.data).toEqual({ ...shown, ...more })
    expect((await call('list', 'roles/'))?.data).toEqual({ keys: ['r1'] })
    await call('update', 'roles/r1', { orphan: true })
    expect((await call('read', 'roles/r1'))?.data).toEqual({ ...shown, ...more, orphan: true })
    await call('delete', 'roles/r1')
    expect(await call('read', 'roles/r1')).toBeUndefined()
    expect(await call('list', 'roles/')).toBeUndefined()
  })

  it.each<[Record<string, unknown>, string]>([
    [{ token_type: 'zz' }, `invalid 'token_type' value "zz"`],
    [
      { token_type: 'batch', orphan: true },
      "'token_type' cannot be 'batch' when role is set to generate renewable tokens",
    ],
    [{ path_suffix: 'a b' }, 'given role path suffix contains invalid characters; must match \\w[\\w-.]+\\w'],
    [
      { token_bound_cidrs: 'zz' },
      'error parsing role fields: error parsing address "zz": Unable to convert "zz" to an IPv4 or IPv6 address, or a UNIX Socket',
    ],
  ])('refuse %j', async (data, message) => {
    const { call, failure } = await world()
    expect(await failure('update', 'roles/r1', data)).toBe(message)
    expect(await call('read', 'roles/r1')).toBeUndefined()
  })

  it('shape the tokens made under them', async () => {
    const { call, create, failure } = await world()
    const { entry: mk } = await create({ policies: ['mk'] })
    const wanted = { policies: ['c', 'x1'] }
    await call('update', 'roles/some', { allowed_policies: 'a,b' })
    expect((await create({}, mk, 'create/some')).auth.policies).toEqual(['a', 'b', 'default'])
    expect((await create({ policies: ['a'] }, mk, 'create/some')).auth.policies).toEqual(['a', 'default'])
    expect(await failure('update', 'create/some', wanted, mk)).toBe(
      'token policies (["c" "default" "x1"]) must be subset of the role\'s allowed policies (["a" "b" "default"]) or glob policies ([])',
    )
    await call('update', 'roles/globs', { allowed_policies_glob: 'x*' })
    expect((await create({}, mk, 'create/globs')).auth.policies).toEqual(['default'])
    expect((await create({ policies: ['x1'] }, mk, 'create/globs')).auth.policies).toEqual(['default', 'x1'])
    expect(await failure('update', 'create/globs', { policies: ['a'] })).toBe(
      'token policies (["a" "default"]) must be subset of the role\'s allowed policies (["default"]) or glob policies (["x*"])',
    )
    await call('update', 'roles/not', { disallowed_policies: ['c'], disallowed_policies_glob: 'y*' })
    expect(await failure('update', 'create/not', wanted, mk)).toBe('token policy "c" is disallowed by this role')
    expect(await failure('update', 'create/not', { policies: ['yes'] }, mk)).toBe(
      'token policy "yes" is disallowed by this role',
    )
    expect((await create({ policies: ['free'] }, mk, 'create/not')).auth.policies).toEqual(['default', 'free'])
    expect(await failure('update', 'create/none')).toBe('unknown role none')
    await call('update', 'roles/plain', { token_no_default_policy: true, allowed_policies: 'a' })
    expect((await create({}, mk, 'create/plain')).auth.policies).toEqual(['a'])
  })

  it('never let a glob admit root', async () => {
    const { call, create, failure } = await world()
    const { entry: mk } = await create({ policies: ['mk'] })
    await call('update', 'roles/all', { allowed_policies_glob: '*' })
    expect(await failure('update', 'create/all', { policies: ['root'] }, mk)).toBe(
      'root tokens may not be created without parent token being root',
    )
    expect(await failure('update', 'create/all', { policies: ['response-wrapping'] }, mk)).toBe(
      'cannot assign policy "response-wrapping"',
    )
  })

  it('set path, lifetime, uses, kin', async () => {
    const { call, create } = await world()
    await call('update', 'roles/rr', {
      path_suffix: 'sfx',
      token_period: '1h',
      orphan: true,
      allowed_policies: ['default'],
      token_num_uses: 3,
      token_bound_cidrs: ['10.0.0.0/8'],
      renewable: false,
    })
    const { auth, entry, warnings } = await create({ period: '2h', num_uses: 9 }, undefined, 'create/rr')
    expect(auth).toMatchObject({ orphan: true, lease_duration: hour, num_uses: 3, renewable: false })
    expect(entry).toMatchObject({
      path: 'auth/token/create/rr/sfx',
      role: 'rr',
      period: hour,
      boundCidrs: ['10.0.0.0/8'],
    })
    expect(warnings).toEqual([
      'Period specified both during creation call and in role; using the lesser value of 3600 seconds',
    ])
    await call('update', 'roles/b', { token_type: 'batch', renewable: false })
    expect((await create({ policies: ['default'] }, undefined, 'create/b')).auth.token_type).toBe('batch')
  })

  it('rule renewal too', async () => {
    const { call, create, failure } = await world()
    await call('update', 'roles/rr', { token_period: '1h', allowed_policies: ['default'], path_suffix: 'sfx' })
    const { entry } = await create({}, undefined, 'create/rr')
    await call('update', 'roles/rr', { token_period: '2h' })
    expect((await call('update', 'renew-self', {}, entry))?.authBlock?.lease_duration).toBe(2 * hour)
    await call('update', 'roles/rr', { token_explicit_max_ttl: '30m' })
    const capped = await call('update', 'renew-self', {}, entry)
    expect(capped?.authBlock?.lease_duration).toBe(1800)
    await call('delete', 'roles/rr')
    expect(await failure('update', 'renew-self', {}, entry)).toBe(
      'original token role "rr" could not be found, not renewing',
    )
  })
})

describe('lookup', () => {
  it('shows what Vault shows', async () => {
    const { call, create, root } = await world()
    const { auth, entry } = await create({ policies: ['default'], ttl: '1h', meta: { x: 'y' } })
    const expected = {
      accessor: auth.accessor,
      creation_time: START / 1000,
      creation_ttl: hour,
      display_name: 'token',
      entity_id: '',
      expire_time: new Date(START + hour * 1000).toISOString(),
      explicit_max_ttl: 0,
      id: auth.client_token,
      issue_time: new Date(START).toISOString(),
      meta: { x: 'y' },
      num_uses: 0,
      orphan: false,
      path: 'auth/token/create',
      policies: ['default'],
      renewable: true,
      ttl: hour,
      type: 'service',
    }
    expect((await call('read', 'lookup-self', {}, entry))?.data).toEqual(expected)
    expect((await call('update', 'lookup', { token: auth.client_token }))?.data).toEqual(expected)
    expect((await call('update', 'lookup-accessor', { accessor: auth.accessor }))?.data).toEqual({
      ...expected,
      id: '',
    })
    await vi.advanceTimersByTimeAsync(60_000)
    await call('update', 'renew-self', {}, entry)
    expect((await call('read', 'lookup-self', {}, entry))?.data).toEqual({
      ...expected,
      expire_time: new Date(START + 3_660_000).toISOString(),
      last_renewal: new Date(START + 60_000).toISOString(),
      last_renewal_time: START / 1000 + 60,
    })
    expect((await call('read', 'lookup'))?.data).toMatchObject({
      id: root.id,
      ttl: 0,
      expire_time: null,
      creation_ttl: 0,
      policies: ['root'],
      renewable: false,
      orphan: true,
      path: 'auth/token/root',
    })
  })

  it('shows period, role and batch tokens', async () => {
    const { call, create } = await world()
    const periodic = await create({ policies: ['default'], period: '1h' })
    expect((await call('read', 'lookup-self', {}, periodic.entry))?.data).toMatchObject({ period: hour })
    const batch = await create({ policies: ['default'], type: 'batch', ttl: '1h' })
    expect((await call('read', 'lookup-self', {}, batch.entry))?.data).toMatchObject({
      accessor: '',
      renewable: false,
      ttl: hour,
      type: 'batch',
      expire_time: new Date(START + hour * 1000).toISOString(),
    })
  })

  it('refuses what is unknown', async () => {
    const { failure } = await world()
    expect(await failure('update', 'lookup', { token: 's.nope' })).toBe('bad token')
    expect(await failure('update', 'lookup-accessor', { accessor: 'nope' })).toBe(
      '1 error occurred:\n\t* invalid accessor\n\n',
    )
    expect(await failure('update', 'lookup-accessor')).toBe('1 error occurred:\n\t* missing accessor\n\n')
  })
})

describe('renew', () => {
  it('by self, token and accessor', async () => {
    const { call, create } = await world()
    const { auth, entry } = await create({ policies: ['default'], ttl: '1h' })
    const duration = async (path: string, data: Record<string, unknown>, caller?: TokenEntry) =>
      (await call('update', path, data, caller))?.authBlock?.lease_duration
    expect(await duration('renew-self', {}, entry)).toBe(hour)
    expect(await duration('renew-self', { increment: '2h' }, entry)).toBe(2 * hour)
    expect(await duration('renew', { token: auth.client_token, increment: 60 })).toBe(60)
    const last = await call('update', 'renew-accessor', { accessor: auth.accessor })
    expect(last?.authBlock).toEqual({ ...auth, client_token: '', lease_duration: 60 })
    const big = await call('update', 'renew-self', { increment: '9999h' }, entry)
    expect(big?.warnings).toEqual([
      'TTL of "9999h0m0s" exceeded the effective max_ttl of "768h0m0s"; TTL value is capped accordingly',
    ])
  })

  it('of periodic tokens has no end unless one was set', async () => {
    const { call, create, tokens } = await world()
    const { entry } = await create({ policies: ['default'], period: '1h' })
    const ending = await create({ policies: ['default'], period: '1h', explicit_max_ttl: '2h' })
    const half = async () => vi.advanceTimersByTimeAsync(1_800_000)
    for (let round = 0; round < 3; round++) {
      await half()
      await call('update', 'renew-self', { increment: '3h' }, ending.entry)
      expect((await call('update', 'renew-self', { increment: '3h' }, entry))?.authBlock?.lease_duration).toBe(hour)
    }
    await half()
    await call('update', 'renew-self', {}, entry)
    expect(await tokens.lookup(ending.auth.client_token)).toBeUndefined()
    for (let round = 0; round < 2000; round++) {
      await half()
      await call('update', 'renew-self', {}, entry)
    }
  })

  it('is refused in Vault’s words', async () => {
    const { create, failure } = await world()
    expect(await failure('update', 'renew')).toBe('missing token ID')
    expect(await failure('update', 'renew', { token: 'x' })).toBe('token not found')
    expect(await failure('update', 'renew-self')).toBe('lease is not renewable')
    expect(await failure('update', 'renew-accessor', { accessor: 'zz' })).toBe(
      '1 error occurred:\n\t* invalid accessor\n\n',
    )
    expect(await failure('update', 'renew-self', { increment: 'zz' })).toBe(
      'Field validation failed: error converting input for field "increment": time: invalid duration "zz"',
    )
    const fixed = await create({ policies: ['default'], renewable: false })
    expect(await failure('update', 'renew-self', {}, fixed.entry)).toBe('lease is not renewable')
    const batch = await create({ policies: ['default'], type: 'batch' })
    expect(await failure('update', 'renew-self', {}, batch.entry)).toBe('batch tokens cannot be renewed')
  })
})

describe('revoke', () => {
  it('by self, token, accessor, and without the children', async () => {
    const { call, create, tokens, root } = await world()
    const gone = async (id: string) => (await tokens.lookup(id)) === undefined
    const made = async (caller = root) => (await create({ policies: ['default', 'mk'] }, caller)).entry
    const [a, b, c, d] = [await made(), await made(), await made(), await made()]
    const child = await made(d)
    expect(await call('update', 'revoke-self', {}, a)).toBeUndefined()
    expect(await call('update', 'revoke', { token: b.id })).toBeUndefined()
    expect(await call('update', 'revoke-accessor', { accessor: c.accessor })).toBeUndefined()
    expect(await call('update', 'revoke-orphan', { token: d.id })).toBeUndefined()
    for (const entry of [a, b, c, d]) expect(await gone(entry.id)).toBe(true)
    expect(await gone(child.id)).toBe(false)
    expect((await call('list', 'accessors/'))?.data?.keys).toEqual(
      expect.arrayContaining([root.accessor, child.accessor]),
    )
    expect((await call('list', 'accessors/'))?.data?.keys).toHaveLength(2)
  })

  it('is refused in Vault’s words', async () => {
    const { call, create, failure } = await world()
    expect(await failure('update', 'revoke')).toBe('missing token ID')
    expect(await failure('update', 'revoke', { token: 'x' })).toBe('accepted')
    expect(await failure('update', 'revoke-orphan')).toBe('missing token ID')
    expect(await failure('update', 'revoke-orphan', { token: 'x' })).toBe('token to revoke not found')
    expect(await failure('update', 'revoke-accessor')).toBe('1 error occurred:\n\t* missing accessor\n\n')
    expect(await call('update', 'revoke-accessor', { accessor: 'x' })).toEqual({
      warnings: ['No token found with this accessor'],
    })
    const { entry } = await create({ policies: ['default'], type: 'batch' })
    for (const path of ['revoke', 'revoke-orphan']) {
      expect(await failure('update', path, { token: entry.id })).toBe('batch tokens cannot be revoked')
    }
    expect(await failure('update', 'revoke-self', {}, entry)).toBe('batch tokens cannot be revoked')
  })

  it('of accessors and orphans is for sudo', async () => {
    expect((await world()).backend.special.sudo).toEqual(['revoke-orphan*', 'accessors*'])
  })
})

describe('tidy', () => {
  it('runs once at a time', async () => {
    const { call } = await world()
    expect(await call('update', 'tidy')).toMatchObject({ status: 202, warnings: [expect.stringContaining('started')] })
    expect(await call('update', 'tidy')).toEqual({ warnings: ['Tidy operation already in progress.'] })
    await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setImmediate(resolve))
    expect(await call('update', 'tidy')).toMatchObject({ status: 202 })
  })
})
