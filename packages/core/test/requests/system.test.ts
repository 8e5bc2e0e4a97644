import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { auditedHeaders } from '../../src/system/audited-headers.ts'
import { versionHistory } from '../../src/system/version-history.ts'
import { quiet } from '../mounts/table.ts'
import { type Assembly, assembly } from './assembly.ts'

const one = (text: string) => `1 error occurred:\n\t* ${text}\n\n`
const invalid = (error: string) => ({ code: 'CORE_INVALID_REQUEST', error })

let core: Assembly
let poor: string
beforeAll(async () => {
  core = await assembly({
    system: {
      haNodes: () => [{ hostname: 'h', active_node: true }],
      sanitizedConfig: () => ({ log_level: 'info' }),
      inFlight: () => ({ r1: { request_path: '/v1/x' } }),
      versionHistory: () => [
        { version: '1.14.7', installed: 0, buildDate: '2026-01-01T00:00:00Z' },
        { version: '1.14.8', installed: 1000, buildDate: '2026-02-01T00:00:00Z' },
      ],
    },
  })
  await core.mounts.enable('secret', 'k', { type: 'kv' })
  await core.mounts.enable('auth', 'up', { type: 'userpass' })
  poor = await core.tokenWith(`
    path "k/a" { capabilities = ["read"] }
    path "sys/capabilities-self" { capabilities = ["update"] }
    path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }`)
})
afterAll(() => core.close())

describe('refusals', () => {
  test.each([
    ['update', 'sys/mounts/k', { type: 'kv' }, 'path is already in use at k/'],
    ['update', 'sys/mounts/k/sub', { type: 'kv' }, 'path is already in use at k/'],
    ['update', 'sys/mounts/sys/x', { type: 'kv' }, 'cannot mount "sys/x/"'],
    ['update', 'sys/mounts/zz', { type: 'nope' }, 'plugin not found in the catalog: nope'],
    ['update', 'sys/mounts/zz', {}, 'backend type must be specified as a string'],
    ['update', 'sys/mounts/zz', { type: '' }, 'backend type must be specified as a string'],
    ['update', 'sys/mounts/zz', { type: 'cubbyhole' }, 'mount type of "cubbyhole" is not mountable'],
    [
      'update',
      'sys/mounts/zz',
      { type: 'kv', config: { default_lease_ttl: '2h', max_lease_ttl: '1h' } },
      'given default lease TTL greater than given max lease TTL',
    ],
    [
      'update',
      'sys/mounts/zz',
      { type: 'kv', config: { default_lease_ttl: 'abc' } },
      'unable to parse default TTL of abc: time: invalid duration "abc"',
    ],
    [
      'update',
      'sys/mounts/zz',
      { type: 'kv', config: { listing_visibility: 'abc' } },
      'invalid listing_visibility abc',
    ],
    ['read', 'sys/mounts/nope', {}, 'No secret engine mount at nope/'],
    ['read', 'sys/mounts/nope/tune', {}, 'cannot fetch sysview for path "nope/"'],
    ['update', 'sys/mounts/nope/tune', { description: 'x' }, 'tune of path "nope/" failed: no mount entry found'],
    ['update', 'sys/auth/nope/tune', { description: 'x' }, 'tune of path "auth/nope/" failed: no mount entry found'],
    ['update', 'sys/mounts/k/tune', { default_lease_ttl: 'abc' }, 'time: invalid duration "abc"'],
    ['update', 'sys/mounts/k/tune', { token_type: 'batch' }, "'token_type' can only be modified on auth mounts"],
    ['update', 'sys/auth/up/tune', { token_type: 'foo' }, "invalid value for 'token_type'"],
    [
      'update',
      'sys/auth/token/tune',
      { token_type: 'batch' },
      "'token_type' cannot be set for 'token' or 'ns_token' auth mounts",
    ],
    ['update', 'sys/mounts/sys/tune', { description: 'x' }, 'cannot tune "sys/"'],
    ['read', 'sys/auth/nope', {}, 'No auth engine at nope/'],
    ['delete', 'sys/mounts/sys', {}, 'cannot unmount "sys/"'],
    ['delete', 'sys/mounts/cubbyhole', {}, 'cannot unmount "cubbyhole/"'],
    ['delete', 'sys/auth/token', {}, 'token credential backend cannot be disabled'],
    ['update', 'sys/auth/zz', { type: 'token' }, 'token credential backend cannot be instantiated'],
    ['update', 'sys/remount', { from: 'k' }, "both 'from' and 'to' path must be specified as a string"],
    ['update', 'sys/remount', { from: 'nope', to: 'x' }, 'no matching mount at "nope/"'],
    ['update', 'sys/remount', { from: 'k', to: 'sys/x' }, 'cannot remount to destination sys/x/'],
    ['update', 'sys/policies/acl/bad', {}, "'policy' parameter not supplied or empty"],
    [
      'update',
      'sys/policies/acl/bad',
      { policy: 'path "x" {capabilities=["foo"]}' },
      'failed to parse policy: path "x": invalid capability "foo"',
    ],
    ['update', 'sys/policies/acl/root', { policy: 'path "x" {capabilities=["read"]}' }, 'cannot update "root" policy'],
    ['delete', 'sys/policies/acl/root', {}, 'cannot delete "root" policy'],
    ['delete', 'sys/policy/default', {}, 'cannot delete default policy'],
    ['update', 'sys/capabilities-self', {}, 'paths must be supplied'],
    ['update', 'sys/capabilities', { token: 'bad', paths: ['x'] }, one('invalid token')],
    ['update', 'sys/capabilities-accessor', { accessor: 'bad', paths: ['x'] }, one('invalid accessor')],
    ['update', 'sys/leases/lookup', {}, 'lease_id must be specified'],
    ['update', 'sys/leases/lookup', { lease_id: 'nope' }, 'invalid lease'],
    ['update', 'sys/leases/renew', { lease_id: 'nope' }, 'lease not found'],
    ['update', 'sys/leases/renew', {}, 'lease_id must be specified'],
    ['update', 'sys/leases/revoke', {}, 'lease_id must be specified'],
    ['update', 'sys/wrapping/wrap', { a: 1 }, 'endpoint requires response wrapping to be used'],
    ['update', 'sys/audit-hash/f', { input: 'x' }, 'unknown audit backend "f/"'],
    [
      'update',
      'sys/tools/random/foo/4',
      {},
      'unsupported entropy source "foo"; must be "platform" or "seal", or "all"',
    ],
    ['update', 'sys/tools/random/0', {}, "'bytes' cannot be less than 1"],
    ['update', 'sys/tools/random/999999999', {}, "'bytes' should be less than 131072"],
    ['update', 'sys/tools/random', { format: 'x' }, 'unsupported encoding format "x"; must be "hex" or "base64"'],
    ['update', 'sys/tools/hash/foo', { input: 'aGVsbG8=' }, 'unsupported algorithm foo'],
    [
      'update',
      'sys/tools/hash',
      { input: 'aGVsbG8=', format: 'x' },
      'unsupported encoding format x; must be "hex" or "base64"',
    ],
  ] as const)('%s %s %j: %s', async (operation, path, data, error) => {
    expect(await core.ask(operation, path, { data })).toEqual(invalid(error))
  })

  test.each([
    ['read', 'sys/policies/acl/nope'],
    ['read', 'sys/policy/nope'],
    ['read', 'sys/remount/status/nope'],
    ['list', 'sys/leases/lookup/nope/'],
    ['read', 'sys/leases/count'],
    ['read', 'sys/plugins/catalog/secret/nope'],
  ] as const)('%s %s finds nothing', async (operation, path) => {
    expect(await core.ask(operation, path)).toEqual({ code: 'CORE_NOT_FOUND', error: '' })
  })

  test.each([
    ['delete', 'sys/mounts/nope'],
    ['delete', 'sys/auth/nope'],
    ['delete', 'sys/policies/acl/nope'],
    ['delete', 'sys/audit/nope'],
    ['update', 'sys/leases/revoke-prefix/nope'],
    ['update', 'sys/leases/revoke-force/nope'],
  ] as const)('%s %s is no error', async (operation, path) => {
    expect((await core.ask(operation, path)).status).toBe(204)
  })
})

describe('mounts', () => {
  const kvInfo = {
    accessor: expect.stringMatching(/^kv_[0-9a-f]{8}$/),
    config: { default_lease_ttl: 0, force_no_cache: false, max_lease_ttl: 0 },
    deprecation_status: 'supported',
    description: '',
    external_entropy_access: false,
    local: false,
    options: {},
    plugin_version: '',
    running_plugin_version: 'v1.14.8+builtin.vault',
    running_sha256: '',
    seal_wrap: false,
    type: 'kv',
    uuid: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4/),
  }

  test('listed as Vault lists them, data repeated at top level', async () => {
    const { data, response } = await core.ask('read', 'sys/mounts')
    expect(data?.['k/']).toEqual(kvInfo)
    expect(data?.['cubbyhole/']).toMatchObject({ local: true, options: null, type: 'cubbyhole' })
    expect(data?.['sys/']).toMatchObject({ seal_wrap: true, type: 'system' })
    expect(response?.injectData).toBe(true)
    expect((await core.ask('read', 'sys/mounts/k')).data).toEqual(kvInfo)
    const auth = (await core.ask('read', 'sys/auth')).data
    expect(auth?.['up/']).toMatchObject({ type: 'userpass', config: { token_type: 'default-service' } })
    expect(auth?.['up/']).toEqual((await core.ask('read', 'sys/mounts/auth/up')).data)
  })

  test('every parameter of enable and tune', async () => {
    const data = {
      type: 'kv',
      description: 'd',
      local: true,
      config: {
        max_lease_ttl: '9999h',
        default_lease_ttl: 3600,
        audit_non_hmac_request_keys: ['a'],
        passthrough_request_headers: ['X-A'],
        allowed_response_headers: ['X-B'],
        listing_visibility: 'unauth',
      },
    }
    expect((await core.ask('update', 'sys/mounts/z4', { data })).status).toBe(204)
    const tuned = (await core.ask('read', 'sys/mounts/z4/tune')).data
    expect(tuned).toEqual({
      default_lease_ttl: 3600,
      max_lease_ttl: 35_996_400,
      force_no_cache: false,
      description: 'd',
      audit_non_hmac_request_keys: ['a'],
      passthrough_request_headers: ['X-A'],
      allowed_response_headers: ['X-B'],
      listing_visibility: 'unauth',
    })
    const change = {
      default_lease_ttl: 'system',
      max_lease_ttl: 'system',
      description: 'x',
      passthrough_request_headers: '',
      allowed_response_headers: 'X-C,X-D',
    }
    expect((await core.ask('update', 'sys/mounts/z4/tune', { data: change })).status).toBe(204)
    expect((await core.ask('read', 'sys/mounts/z4/tune')).data).toEqual({
      default_lease_ttl: 2_764_800,
      max_lease_ttl: 2_764_800,
      force_no_cache: false,
      description: 'x',
      audit_non_hmac_request_keys: ['a'],
      allowed_response_headers: ['X-C', 'X-D'],
      listing_visibility: 'unauth',
    })
    const tooLong = await core.ask('update', 'sys/mounts/z4/tune', {
      data: { default_lease_ttl: '2h', max_lease_ttl: '1h' },
    })
    expect(tooLong).toEqual(
      invalid('backend max lease TTL of 3600 would be less than backend default lease TTL of 7200'),
    )
  })

  test('kv upgrades with a warning and does not downgrade', async () => {
    await core.ask('update', 'sys/mounts/up', { data: { type: 'kv' } })
    const tune = (version: string) => core.ask('update', 'sys/mounts/up/tune', { data: { options: { version } } })
    expect((await tune('2')).response?.envelope?.warnings?.[0]).toMatch(/^Upgrading mount from version 1 to version 2/)
    expect(await tune('1')).toEqual(invalid('cannot downgrade mount from version 2'))
    expect((await tune('2')).status).toBe(204)
  })

  test('remount reports its progress', async () => {
    await core.ask('update', 'sys/mounts/from', { data: { type: 'kv' } })
    const { data, response } = await core.ask('update', 'sys/remount', { data: { from: 'from', to: 'to' } })
    expect(response?.injectData).toBe(true)
    const id = String(data?.migration_id)
    await expect
      .poll(async () => (await core.ask('read', `sys/remount/status/${id}`)).data)
      .toEqual({ migration_id: id, migration_info: { source_mount: 'from/', target_mount: 'to/', status: 'success' } })
    expect(core.mounts.route('to/x')).toBeDefined()
  })
})

describe('policies', () => {
  test('read back exactly as Vault shows them', async () => {
    const policy = 'path "k/*" { capabilities = ["read"] }'
    expect((await core.ask('update', 'sys/policies/acl/foo', { data: { policy } })).status).toBe(204)
    expect((await core.ask('read', 'sys/policies/acl/foo')).data).toEqual({ name: 'foo', policy })
    expect((await core.ask('read', 'sys/policy/foo')).data).toEqual({ name: 'foo', rules: policy })
    expect((await core.ask('read', 'sys/policies/acl/root')).data).toEqual({ name: 'root', policy: '' })
    const base64 = { policy: Buffer.from(policy).toString('base64') }
    await core.ask('update', 'sys/policies/acl/encoded', { data: base64 })
    expect((await core.ask('read', 'sys/policies/acl/encoded')).data?.policy).toBe(policy)
    const { keys } = (await core.ask('list', 'sys/policies/acl/')).data as { keys: string[] }
    expect(keys).toEqual([...keys].sort())
    expect(keys).toEqual(expect.arrayContaining(['default', 'encoded', 'foo', 'root']))
    expect((await core.ask('read', 'sys/policy')).data).toEqual({ keys, policies: keys })
    expect((await core.ask('list', 'sys/policy/')).data).toEqual({ keys, policies: keys })
    expect((await core.ask('delete', 'sys/policy/foo')).status).toBe(204)
    expect((await core.ask('read', 'sys/policies/acl/foo')).code).toBe('CORE_NOT_FOUND')
  })

  test('warnings', async () => {
    const rules = 'path "x" { capabilities = ["read"] }'
    const warnings = async (path: string, data: Record<string, unknown>) =>
      (await core.ask('update', path, { data })).response?.envelope?.warnings
    expect(await warnings('sys/policies/acl/UPPER', { policy: rules })).toEqual(['policy name was converted to upper'])
    expect(await warnings('sys/policy/old', { rules })).toEqual(["'rules' is deprecated, please use 'policy' instead"])
  })
})

describe('capabilities', () => {
  test.each([
    [{ paths: ['k/a', 'sys/x'] }, { 'k/a': ['read'], 'sys/x': ['deny'] }],
    [{ paths: 'k/a,k/b' }, { 'k/a': ['read'], 'k/b': ['deny'] }],
    [{ path: 'k/a' }, { 'k/a': ['read'], capabilities: ['read'] }],
  ])('self %j', async (data, expected) => {
    const answer = await core.ask('update', 'sys/capabilities-self', { token: poor, data })
    expect(answer.data).toEqual(expected)
    expect(answer.response?.injectData).toBe(true)
  })

  test('of another token, by itself or its accessor', async () => {
    const accessor = (await core.tokens.lookup(poor))!.accessor
    const expected = { 'k/a': ['read'], capabilities: ['read'] }
    expect((await core.ask('update', 'sys/capabilities', { data: { token: poor, paths: ['k/a'] } })).data).toEqual(
      expected,
    )
    expect(
      (await core.ask('update', 'sys/capabilities-accessor', { data: { accessor, paths: ['k/a'] } })).data,
    ).toEqual(expected)
    const root = { token: core.rootToken, paths: ['k/a'] }
    expect((await core.ask('update', 'sys/capabilities', { data: root })).data?.['k/a']).toEqual(['root'])
  })
})

describe('internal/ui', () => {
  const denied = (path: string) =>
    `preflight capability check returned 403, please ensure client's policies grant access to path "${path}"`

  test('mounts: what the caller can reach', async () => {
    const mounts = async (token: string) => (await core.ask('read', 'sys/internal/ui/mounts', { token })).data
    await core.ask('update', 'sys/auth/open', { data: { type: 'userpass', config: { listing_visibility: 'unauth' } } })
    const anonymous = await mounts('')
    expect(anonymous?.auth).toEqual({ 'open/': { description: '', options: {}, type: 'userpass' } })
    expect(Object.keys((await mounts(poor))?.secret as object)).toEqual(expect.arrayContaining(['k/', 'sys/']))
    expect((await mounts(poor))?.secret).not.toHaveProperty('cubbyhole/')
    expect((await mounts(core.rootToken))?.auth).toHaveProperty('up/')
    expect(await core.ask('read', 'sys/internal/ui/mounts', { token: 'bad' })).toEqual({
      code: 'CORE_PERMISSION_DENIED',
      error: 'permission denied',
    })
  })

  test.each([
    ['k/a', 'poor', 'k/'],
    ['k', 'poor', 'k/'],
    ['auth/up/x', 'root', 'up/'],
  ])('preflight of %s for %s: %s', async (path, who, mount) => {
    const token = who === 'poor' ? poor : core.rootToken
    expect((await core.ask('read', `sys/internal/ui/mounts/${path}`, { token })).data).toMatchObject({ path: mount })
  })

  test.each([
    ['cubbyhole/x', 'poor', denied('cubbyhole/x/')],
    ['nope', 'poor', denied('nope/')],
    ['nope', 'root', denied('nope/')],
    ['k/a', '', 'permission denied'],
  ])('preflight of %s for %j is refused', async (path, who, error) => {
    const token = who === 'poor' ? poor : who === 'root' ? core.rootToken : ''
    expect(await core.ask('read', `sys/internal/ui/mounts/${path}`, { token })).toEqual({
      code: 'CORE_PERMISSION_DENIED',
      error,
    })
  })

  test('resultant-acl', async () => {
    expect((await core.ask('read', 'sys/internal/ui/resultant-acl')).data).toEqual({ root: true })
    const { data } = await core.ask('read', 'sys/internal/ui/resultant-acl', { token: poor })
    expect(data).toMatchObject({ root: false, exact_paths: { 'k/a': { capabilities: ['read'] } } })
  })

  test('feature flags, without envelope', async () => {
    const { response } = await core.ask('read', 'sys/internal/ui/feature-flags', { token: '' })
    expect(response).toEqual({ status: 200, bare: { feature_flags: [] } })
  })
})

describe('the rest', () => {
  test.each([
    ['read', 'sys/key-status', {}, { term: 3, install_time: '2026-11-23T12:00:00.000Z', encryptions: 7 }],
    [
      'update',
      'sys/tools/hash',
      { input: 'aGVsbG8=' },
      { sum: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824' },
    ],
    [
      'update',
      'sys/tools/hash/sha2-512',
      { input: 'aGVsbG8=', format: 'base64' },
      { sum: 'm3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==' },
    ],
    ['read', 'sys/ha-status', {}, { nodes: [{ hostname: 'h', active_node: true }] }],
    ['read', 'sys/config/state/sanitized', {}, { log_level: 'info' }],
    ['read', 'sys/config/cors', {}, { enabled: false }],
    ['list', 'sys/plugins/catalog/auth/', {}, { keys: ['userpass'] }],
    ['read', 'sys/leases/count', { type: 'irrevocable' }, { lease_count: 0, counts: {} }],
    ['read', 'sys/leases', { type: 'irrevocable' }, { lease_count: 0, leases: [] }],
    [
      'list',
      'sys/version-history/',
      {},
      {
        keys: ['1.14.7', '1.14.8'],
        key_info: {
          '1.14.7': {
            build_date: '2026-01-01T00:00:00Z',
            previous_version: null,
            timestamp_installed: '1970-01-01T00:00:00.000Z',
          },
          '1.14.8': {
            build_date: '2026-02-01T00:00:00Z',
            previous_version: '1.14.7',
            timestamp_installed: '1970-01-01T00:00:01.000Z',
          },
        },
      },
    ],
  ] as const)('%s %s %j', async (operation, path, data, expected) => {
    expect((await core.ask(operation, path, { data })).data).toEqual(expected)
  })

  test('in-flight-req has no envelope', async () => {
    expect((await core.ask('read', 'sys/in-flight-req')).response?.bare).toEqual({ r1: { request_path: '/v1/x' } })
  })

  test.each([
    ['sys/tools/random', {}, 'base64', 32],
    ['sys/tools/random/4', { format: 'hex' }, 'hex', 4],
    ['sys/tools/random/seal', { bytes: 5 }, 'base64', 5],
    ['sys/tools/random/platform/6', { bytes: 5 }, 'base64', 6],
  ] as const)('%s %j gives random bytes', async (path, data, format, length) => {
    const text = async () => String((await core.ask('update', path, { data })).data?.random_bytes)
    const first = await text()
    expect(Buffer.from(first, format).length).toBe(length)
    expect(await text()).not.toBe(first)
  })

  test('audit devices', async () => {
    const data = { type: 'file', description: 'd', options: { file_path: '/x' } }
    expect((await core.ask('update', 'sys/audit/f', { data })).status).toBe(204)
    expect((await core.ask('read', 'sys/audit')).data).toEqual({ 'f/': { path: 'f/', local: false, ...data } })
    expect((await core.ask('update', 'sys/audit-hash/f', { data: { input: 'abc' } })).data).toEqual({
      hash: 'hmac-sha256:3',
    })
    expect((await core.ask('delete', 'sys/audit/f')).status).toBe(204)
    expect((await core.ask('read', 'sys/audit')).data).toEqual({})
  })

  test.each([
    ['sys/rotate', 'rotate'],
    ['sys/rotate/keyring', 'rotate'],
    ['sys/seal', 'seal'],
    ['sys/step-down', 'step-down'],
  ])('%s', async (path, call) => {
    core.calls.length = 0
    expect((await core.ask('update', path)).status).toBe(204)
    expect(core.calls).toEqual([call])
    const token = await core.tokenWith(`path "${path}" { capabilities = ["update"] }`)
    expect((await core.ask('update', path, { token })).code).toBe('CORE_PERMISSION_DENIED')
    expect(core.calls).toEqual([call])
  })

  test('audited request headers', async () => {
    const at = 'sys/config/auditing/request-headers'
    expect((await core.ask('read', at)).data).toEqual({ headers: {} })
    expect((await core.ask('update', `${at}/X-Foo`, { data: { hmac: true } })).status).toBe(204)
    expect((await core.ask('read', at)).data).toEqual({ headers: { 'x-foo': { hmac: true } } })
    expect((await core.ask('read', `${at}/X-Foo`)).data).toEqual({ 'X-Foo': { hmac: true } })
    expect(await core.ask('read', `${at}/x-nope`)).toEqual(invalid('Could not find header in config'))
    expect(await core.ask('update', `${at}/x nope`)).toEqual(invalid('invalid header name'))

    const again = auditedHeaders({ storage: core.store, log: quiet })
    await again.load()
    expect([...again.current()]).toEqual([['x-foo', { hmac: true }]])
    expect((await core.ask('delete', `${at}/X-FOO`)).status).toBe(204)
    await again.invalidate('sys/config/audited-headers/x-foo')
    expect(again.current().size).toBe(0)
  })

  test('the versions that ran here, oldest first, each once', async () => {
    const clock = { now: () => 5000 }
    const history = versionHistory({ storage: core.store, clock })
    await history.record('2.0.0', 'b')
    clock.now = () => 4000
    await history.record('3.0.0', 'b')
    clock.now = () => 9000
    await history.record('2.0.0', 'b')
    expect((await history.list()).map(({ version, installed }) => [version, installed])).toEqual([
      ['3.0.0', 4000],
      ['2.0.0', 5000],
    ])
  })

  test('tidy starts and answers 202', async () => {
    expect((await core.ask('update', 'sys/leases/tidy')).status).toBe(202)
  })

  test('help', async () => {
    const { response } = await core.ask('help', 'sys/mounts', { token: poor })
    expect(JSON.parse(String(response?.raw?.body))).toMatchObject({ help: expect.stringContaining('secrets engines') })
  })
})
