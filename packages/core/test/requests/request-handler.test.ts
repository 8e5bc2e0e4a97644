import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Assembly, assembly } from './assembly.ts'

const one = (text: string) => `1 error occurred:\n\t* ${text}\n\n`

let core: Assembly
beforeAll(async () => {
  core = await assembly()
  await core.mounts.enable('secret', 'k', { type: 'kv' })
  await core.mounts.enable('auth', 'up', { type: 'userpass' })
  await core.ask('update', 'k/a', { data: { x: 1 } })
})
beforeEach(() => {
  core.audit.records.length = 0
  core.audit.fail = undefined
})
afterAll(() => core.close())

describe('what the peers answer', () => {
  test.each([
    ['no token', 'read', 'k/a', '', 'CORE_PERMISSION_DENIED', 'permission denied'],
    ['bad token', 'read', 'k/a', 'bad', 'CORE_PERMISSION_DENIED', 'permission denied'],
    ['unknown mount, no token', 'read', 'nope/x', '', 'CORE_PERMISSION_DENIED', 'permission denied'],
    ['unknown mount, poor token', 'read', 'nope/x', 'poor', 'CORE_PERMISSION_DENIED', one('permission denied')],
    [
      'unknown mount, root',
      'read',
      'nope/x',
      'root',
      'CORE_NOT_FOUND',
      'no handler for route "nope/x". route entry not found.',
    ],
    ['policy refuses', 'update', 'k/a', 'poor', 'CORE_PERMISSION_DENIED', one('permission denied')],
    ['unknown sys path, poor token', 'read', 'sys/nope', 'poor', 'CORE_PERMISSION_DENIED', one('permission denied')],
    ['unknown sys path, root', 'read', 'sys/nope', 'root', 'CORE_NOT_FOUND', one('unsupported path')],
    [
      'operation of a sys path',
      'delete',
      'sys/mounts',
      'root',
      'CORE_UNSUPPORTED_OPERATION',
      one('unsupported operation'),
    ],
    ['absent', 'read', 'k/none', 'root', 'CORE_NOT_FOUND', ''],
    ['empty list', 'list', 'k/none/', 'root', 'CORE_NOT_FOUND', ''],
    ['the mount itself', 'read', 'k', 'root', 'CORE_NOT_FOUND', ''],
    ['empty write', 'update', 'k/a', 'root', 'CORE_INVALID_REQUEST', 'missing data fields'],
    ['write to a folder', 'update', 'k/', 'root', 'CORE_INVALID_REQUEST', "cannot write to a path ending in '/'"],
    ['wrong password', 'update', 'auth/up/login/bob', '', 'CORE_INVALID_REQUEST', 'invalid username or password'],
    [
      'wrong password, bad token',
      'update',
      'auth/up/login/bob',
      'bad',
      'CORE_INVALID_REQUEST',
      'invalid username or password',
    ],
    ['auth path, no token', 'read', 'auth/up/users/bob', '', 'CORE_PERMISSION_DENIED', 'permission denied'],
    ['unknown auth mount', 'update', 'auth/nope/login/bob', '', 'CORE_PERMISSION_DENIED', 'permission denied'],
    ['unknown error', 'read', 'k/boom', 'root', 'CORE_INTERNAL', one('internal error')],
    ['unsupported in an engine', 'read', 'k/unsupported', 'root', 'CORE_NOT_FOUND', one('unsupported path')],
    ['patch', 'patch', 'k/a', 'root', 'CORE_UNSUPPORTED_OPERATION', one('unsupported operation')],
  ] as const)('%s: %s %s', async (_name, operation, path, who, code, error) => {
    const poor = who === 'poor' ? await core.tokenWith('path "k/a" { capabilities = ["read"] }') : who
    const token = who === 'root' ? core.rootToken : poor
    expect(await core.ask(operation, path, { token })).toEqual({ code, error })
  })

  test('a read has the whole envelope', async () => {
    const { response } = await core.ask('read', 'k/a', { id: 'r1' })
    expect(response).toEqual({
      status: 200,
      envelope: {
        request_id: 'r1',
        lease_id: '',
        renewable: false,
        lease_duration: 2_764_800,
        data: { x: 1 },
        wrap_info: null,
        warnings: null,
        auth: null,
      },
    })
  })

  test.each([
    ['update', 'k/b', { y: 1 }, 204, undefined],
    ['delete', 'k/none', {}, 204, undefined],
    ['list', 'k/', {}, 200, { keys: ['a', 'b'] }],
    ['read', 'k/gone', {}, 404, { data: null }],
    ['read', 'k/warned', {}, 200, null],
  ] as const)('%s %s %j: %i', async (operation, path, data, status, shown) => {
    const answer = await core.ask(operation, path, { data })
    expect(answer.status).toBe(status)
    expect(answer.data).toEqual(shown)
  })

  test('raw bodies pass through', async () => {
    const { response } = await core.ask('read', 'k/raw')
    expect(response).toEqual({ status: 200, raw: { contentType: 'text/plain', body: 'plain' } })
  })

  test('headers pass both ways only where the mount lets them', async () => {
    const headers = { 'x-kept': 'in', 'x-dropped': 'in' }
    expect(await core.ask('read', 'k/headers', { headers })).toMatchObject({ data: {}, response: { headers: {} } })
    await core.mounts.enable('secret', 'h', {
      type: 'kv',
      config: { passthrough_request_headers: ['X-Kept'], allowed_response_headers: ['x-kept'] },
    })
    const { data, response } = await core.ask('read', 'h/headers', { headers })
    expect(data).toEqual({ 'x-kept': 'in' })
    expect(response?.headers).toEqual({ 'X-Kept': '1' })
  })
})

describe('create and update', () => {
  test.each([
    ['create', 'k/new-1', true],
    ['create', 'k/a', false],
    ['update', 'k/a', true],
    ['update', 'k/new-2', false],
    ['create", "update', 'k/new-3', true],
    ['read', 'k/a', false],
  ])('a token that may %s writes %s: %s', async (capabilities, path, allowed) => {
    const token = await core.tokenWith(`path "k/*" { capabilities = ["${capabilities}"] }`)
    const answer = await core.ask('update', path, { token, data: { x: 1 } })
    expect(answer.status === 204).toBe(allowed)
    if (!allowed) expect(answer.code).toBe('CORE_PERMISSION_DENIED')
  })
})

describe('sudo', () => {
  test.each([
    ['path "sys/auth/*" { capabilities = ["update"] }', false],
    ['path "sys/auth/*" { capabilities = ["update", "sudo"] }', true],
  ])('%s: %s', async (rules, allowed) => {
    const token = await core.tokenWith(rules)
    const path = `sys/auth/sudo-${allowed}`
    const answer = await core.ask('update', path, { token, data: { type: 'userpass' } })
    expect(answer).toEqual(
      allowed
        ? expect.objectContaining({ status: 204 })
        : { code: 'CORE_PERMISSION_DENIED', error: one('permission denied') },
    )
  })
})

describe('tokens', () => {
  test('bound CIDRs', async () => {
    const token = await core.tokenWith('path "k/a" { capabilities = ["read"] }', { boundCidrs: ['10.0.0.0/8', '::1'] })
    const from = async (remoteAddress: string) => (await core.ask('read', 'k/a', { token, remoteAddress })).status
    expect(await from('10.1.2.3')).toBe(200)
    expect(await from('::ffff:10.1.2.3')).toBe(200)
    expect(await from('::1')).toBe(200)
    expect(await from('11.1.2.3')).toBeUndefined()
    expect(await from('fe80::1')).toBeUndefined()
    expect(await from('not an address')).toBeUndefined()
  })

  test('a limited token has its uses, refused requests among them, and is gone after the last', async () => {
    const token = await core.tokenWith('path "k/a" { capabilities = ["read"] }', { numUses: 3 })
    expect((await core.ask('read', 'k/a', { token })).status).toBe(200)
    expect((await core.ask('read', 'k/b', { token })).error).toBe(one('permission denied'))
    expect((await core.ask('read', 'k/a', { token })).status).toBe(200)
    expect((await core.ask('read', 'k/a', { token })).error).toBe('permission denied')
    expect(await core.tokens.lookup(token)).toBeUndefined()
  })

  test('of more requests at once than uses, no more than the uses are served', async () => {
    const token = await core.tokenWith('path "k/a" { capabilities = ["read"] }', { numUses: 3 })
    const answers = await Promise.all(Array.from({ length: 10 }, () => core.ask('read', 'k/a', { token })))
    expect(answers.filter(({ status }) => status === 200).length).toBe(3)
  })

  test('the last use cannot fetch a leased secret', async () => {
    const token = await core.tokenWith('path "k/creds/*" { capabilities = ["read"] }', { numUses: 1 })
    expect((await core.ask('read', 'k/creds/x', { token })).error).toContain('token had one use left')
    expect(await core.leases.list('k/creds/x/')).toEqual([])
    expect(core.calls).toEqual(['creds/x'])
  })
})

describe('leases', () => {
  test('a secret gets a lease below its path, which can be looked up, renewed and revoked', async () => {
    const { response } = await core.ask('read', 'k/creds/db')
    const { lease_id: id, renewable, lease_duration: duration } = response!.envelope!
    expect({ renewable, duration }).toEqual({ renewable: true, duration: 60 })
    expect(id).toMatch(/^k\/creds\/db\/[0-9A-Za-z]{24}$/)
    expect((await core.ask('update', 'sys/leases/lookup', { data: { lease_id: id } })).data).toEqual({
      id,
      issue_time: '2026-11-23T12:00:00.000Z',
      expire_time: '2026-11-23T12:01:00.000Z',
      last_renewal: null,
      renewable: true,
      ttl: 60,
    })
    const renewed = await core.ask('update', 'sys/leases/renew', { data: { lease_id: id, increment: 90 } })
    expect(renewed.response?.envelope).toMatchObject({ lease_id: id, renewable: true, lease_duration: 90, data: null })
    expect((await core.ask('update', `sys/renew/${id}`)).status).toBe(200)
    expect((await core.ask('list', 'sys/leases/lookup/k/creds/db/')).data).toEqual({ keys: [id.split('/').at(-1)] })
    expect((await core.ask('update', 'sys/leases/revoke', { data: { lease_id: id } })).status).toBe(204)
    expect(await core.ask('update', 'sys/leases/lookup', { data: { lease_id: id } })).toEqual({
      code: 'CORE_INVALID_REQUEST',
      error: 'invalid lease',
    })
  })

  test('unmounting revokes them', async () => {
    await core.mounts.enable('secret', 'db', { type: 'kv' })
    const { response } = await core.ask('read', 'db/creds/x')
    expect(await core.leases.lookup(response!.envelope!.lease_id)).toBeDefined()
    expect((await core.ask('delete', 'sys/mounts/db')).status).toBe(204)
    expect(await core.leases.lookup(response!.envelope!.lease_id)).toBeUndefined()
  })
})

describe('login', () => {
  const login = (grant: Record<string, unknown> = {}, path = 'auth/up/login/bob') =>
    core.ask('update', path, { token: '', data: { password: 'right', grant } })

  test('makes an orphan token of the grant', async () => {
    const { response } = await login()
    const auth = response!.envelope!.auth!
    expect(auth).toEqual({
      client_token: expect.any(String),
      accessor: expect.any(String),
      policies: ['default', 'reader'],
      token_policies: ['default', 'reader'],
      metadata: { username: 'bob' },
      lease_duration: 2_764_800,
      renewable: true,
      entity_id: '',
      token_type: 'service',
      orphan: true,
      mfa_requirement: null,
      num_uses: 0,
    })
    expect(response!.envelope!.data).toBeNull()
    expect(await core.tokens.lookup(auth.client_token)).toMatchObject({
      displayName: 'up-bob',
      path: 'auth/up/login/bob',
    })
  })

  test.each([
    [{ policies: ['root'] }, 'auth methods cannot create root tokens'],
    [{ policies: ['response-wrapping'] }, 'cannot assign policy "response-wrapping"'],
  ])('%j is refused', async (grant, error) => {
    expect(await login(grant)).toEqual({ code: 'CORE_INVALID_REQUEST', error })
  })

  test('policies are sanitized, default can be left out, long TTLs are capped with a warning', async () => {
    const first = (await login({ policies: [' B', 'a', 'b'], noDefaultPolicy: true, ttl: 9_000_000 })).response!
      .envelope!
    expect(first.auth?.policies).toEqual(['a', 'b'])
    expect(first.auth?.lease_duration).toBe(2_764_800)
    expect(first.warnings).toEqual([
      'TTL of "2500h0m0s" exceeded the effective max_ttl of "768h0m0s"; TTL value is capped accordingly',
    ])
  })

  test('the mount decides the token type', async () => {
    await core.mounts.enable('auth', 'bt', { type: 'userpass', config: { token_type: 'batch', max_lease_ttl: 100 } })
    const { auth } = (await login({}, 'auth/bt/login/bob')).response!.envelope!
    expect(auth).toMatchObject({ token_type: 'batch', accessor: '', renewable: false, lease_duration: 100 })
  })
})

describe('response wrapping', () => {
  test('any answer with an envelope, once', async () => {
    const { response } = await core.ask('read', 'k/a', { id: 'r1', wrapTtl: 60 })
    const info = response!.envelope!.wrap_info!
    expect(response!.envelope).toMatchObject({ request_id: '', data: null, auth: null, lease_duration: 0 })
    expect(info).toMatchObject({ ttl: 60, creation_path: 'k/a' })
    const lookup = await core.ask('update', 'sys/wrapping/lookup', { token: '', data: { token: info.token } })
    expect(lookup.data).toMatchObject({ creation_ttl: 60, creation_path: 'k/a' })

    const unwrapped = await core.ask('update', 'sys/wrapping/unwrap', { token: info.token })
    expect(JSON.parse(String(unwrapped.response?.raw?.body))).toMatchObject({ request_id: 'r1', data: { x: 1 } })
    expect(await core.ask('update', 'sys/wrapping/unwrap', { token: info.token })).toEqual({
      code: 'CORE_INVALID_REQUEST',
      error: 'wrapping token is not valid or does not exist',
    })
  })

  test('a login carries the wrapped accessor', async () => {
    const asked = { token: '', wrapTtl: 60, data: { password: 'right' } }
    const { response } = await core.ask('update', 'auth/up/login/bob', asked)
    const info = response!.envelope!.wrap_info!
    const unwrapped = await core.ask('update', 'sys/wrapping/unwrap', { data: { token: info.token } })
    const inner = JSON.parse(String(unwrapped.response?.raw?.body))
    expect(inner.auth.accessor).toBe(info.wrapped_accessor)
  })

  test('nothing to wrap: 204 and 404 stay what they are', async () => {
    expect((await core.ask('delete', 'k/none', { wrapTtl: 60 })).status).toBe(204)
    expect(await core.ask('read', 'k/none', { wrapTtl: 60 })).toEqual({ code: 'CORE_NOT_FOUND', error: '' })
  })

  test('a JWT-format token unwraps as well', async () => {
    const { response } = await core.ask('update', 'sys/wrapping/wrap', {
      data: { a: 1 },
      wrapTtl: 60,
      wrapFormat: 'jwt',
    })
    const { token } = response!.envelope!.wrap_info!
    expect(token.split('.').length).toBe(3)
    const unwrapped = await core.ask('update', 'sys/wrapping/unwrap', { token })
    expect(JSON.parse(String(unwrapped.response?.raw?.body))).toMatchObject({ data: { a: 1 } })
  })

  test.each([
    ['', {}, 'CORE_PERMISSION_DENIED', 'error validating wrapping token: token is empty'],
    ['nonsense', {}, 'CORE_INVALID_REQUEST', 'wrapping token is not valid or does not exist'],
    ['', { token: 'x' }, 'CORE_INVALID_REQUEST', 'wrapping token is not valid or does not exist'],
  ])('unwrap with token %j', async (token, data, code, error) => {
    expect(await core.ask('update', 'sys/wrapping/unwrap', { token, data })).toEqual({ code, error })
  })
})

describe('audit', () => {
  test('one record before the backend, one before the client, refusals included', async () => {
    await core.ask('read', 'k/a')
    await core.ask('read', 'k/a', { token: 'bad' })
    const seen = core.audit.records.map(({ type, error, mount, token }) => [
      type,
      error,
      mount?.point,
      token?.displayName,
    ])
    expect(seen).toEqual([
      ['request', undefined, 'k/', 'root'],
      ['response', undefined, 'k/', 'root'],
      ['request', 'permission denied', 'k/', undefined],
      ['response', 'permission denied', 'k/', undefined],
    ])
  })

  test('fails closed: the backend is not reached', async () => {
    core.audit.fail = 'request'
    const before = await core.ask('update', 'k/audited', { data: { x: 1 } })
    expect(before).toEqual({ code: 'CORE_INTERNAL', error: one('internal error') })
    core.audit.fail = undefined
    expect((await core.ask('read', 'k/audited')).code).toBe('CORE_NOT_FOUND')
  })

  test('fails closed: the answer is not given', async () => {
    core.audit.fail = 'response'
    expect((await core.ask('read', 'k/a')).error).toBe(one('internal error'))
  })
})
