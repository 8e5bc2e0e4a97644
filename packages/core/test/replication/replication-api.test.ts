// Every answer of sys/replication/*: status code, shape of the body, JSON types, literal texts (replication-api.md, sections 1 and 2).
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { syncFields } from '../../src/replication/status.ts'
import { activationToken, generate, inSync, link, type Node, startNode, waitFor } from '../cluster.ts'

const nodes: Node[] = []
async function started(shares = 1, threshold = 1): Promise<Node> {
  const node = await startNode()
  nodes.push(node)
  await node.init(shares, threshold)
  return node
}
const closeAll = async (): Promise<void> => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
}
afterAll(closeAll)

const changing = (what: string): string =>
  `This cluster is being ${what}. Vault will be unavailable for a brief period and will resume service shortly.`
const FOUND =
  'Vault has successfully found secondary information; it may take a while to perform setup tasks. Vault will be unavailable until these tasks and initial sync complete.'
/** What a change of role is answered with: 200, no data, one warning. */
const warned = (warning: string) => ({ status: 200, data: null, warnings: [warning] })
const invalid = (error: unknown) => ({ code: 'CORE_INVALID_REQUEST', error })

/** Carried out before the next request. */
async function settled(node: Node, kind: 'performance' | 'dr', mode: string): Promise<void> {
  await waitFor(mode, async () => {
    const { state } = await node.core.health().catch(() => ({ state: 'sealed' }))
    return ['active', 'dr-secondary'].includes(state) && (await node.status(kind)).mode === mode
  })
}

describe.each(['performance', 'dr'] as const)('roles of %s', (kind) => {
  afterEach(closeAll)
  const base = `sys/replication/${kind}`

  test('each change is answered 200, data null, with its one warning', async () => {
    const primary = await started()
    const secondary = await started()
    const enabled = await primary.ask('update', `${base}/primary/enable`)
    expect(enabled).toEqual(warned(changing('enabled as a primary for replication')))
    await settled(primary, kind, 'primary')

    const token = await activationToken(primary, kind, 'us')
    expect(await secondary.ask('update', `${base}/secondary/enable`, { token })).toEqual(warned(FOUND))
    secondary.keys = primary.keys
    await settled(secondary, kind, 'secondary')
    await inSync(primary, secondary, kind)
    const consent = kind === 'dr' ? { dr_operation_token: await generate(secondary, 'dr-operation') } : {}
    if (kind === 'performance') secondary.token = await generate(secondary, 'root')

    expect(await secondary.ask('update', `${base}/secondary/update-primary`, { ...consent, token: '' })).toEqual(
      warned(FOUND),
    )
    await waitFor('the detachment', async () => (await secondary.status(kind)).state === 'idle')
    expect(await secondary.ask('update', `${base}/secondary/promote`, { ...consent, force: true })).toMatchObject({
      status: 200,
      data: null,
      warnings: expect.arrayContaining([changing('promoted to a replication primary')]),
    })
    await settled(secondary, kind, 'primary')
    secondary.token = kind === 'dr' ? primary.token : secondary.token

    expect(await primary.ask('update', `${base}/primary/demote`)).toEqual(
      warned(changing('demoted to a replication secondary')),
    )
    await settled(primary, kind, 'secondary')
    expect(await secondary.ask('update', `${base}/primary/disable`)).toMatchObject({ status: 200, data: null })
    await settled(secondary, kind, 'disabled')
    expect(await secondary.status(kind)).toEqual({ mode: 'disabled' })
  })

  test('secondary-token is wrapped; revoke-secondary is 200 without a body of its own', async () => {
    const primary = await started()
    await primary.change(`${base}/primary/enable`)
    const token = await activationToken(primary, kind, 'us')
    const [header, claims] = token.split('.').map((part) => Buffer.from(part, 'base64url'))
    expect(JSON.parse(String(header))).toEqual({ alg: 'ES512', typ: 'JWT' })
    expect(JSON.parse(String(claims))).toEqual({
      ...{ accessor: '', addr: expect.stringMatching(/^http/), jti: expect.any(String), type: 'wrapping' },
      ...{ exp: expect.any(Number), iat: expect.any(Number), nbf: expect.any(Number) },
    })
    expect(await primary.ask('update', `${base}/primary/revoke-secondary`, { id: 'us' })).toEqual({
      ...{ status: 200, data: null, warnings: null },
    })
    expect(await primary.ask('update', `${base}/primary/revoke-secondary`, { id: 'us' })).toEqual(
      invalid('id: no secondary has the id "us"'),
    )
    expect(await primary.ask('update', `${base}/primary/secondary-token`, {})).toEqual(
      invalid(expect.stringContaining('id')),
    )
  })

  test('what needs a role names the one that is missing', async () => {
    const node = await started()
    const notPrimary = invalid(`cluster is not a ${kind} replication primary`)
    for (const path of ['demote', 'disable', 'revoke-secondary', 'secondary-token']) {
      expect(await node.ask('update', `${base}/primary/${path}`, { id: 'x' }), path).toEqual(notPrimary)
    }
    const notSecondary = kind === 'dr' ? 'Not a DR secondary.' : 'cluster is not a performance replication secondary'
    for (const path of ['promote', 'disable', 'update-primary']) {
      const answer = await node.ask('update', `${base}/secondary/${path}`, { token: '' })
      expect(answer, path).toEqual(invalid(notSecondary))
    }
  })
})

test('legacy names are the performance paths', async () => {
  const node = await started()
  expect(await node.ask('update', 'sys/replication/primary/enable')).toEqual(
    warned(changing('enabled as a primary for replication')),
  )
  await settled(node, 'performance', 'primary')
  const issued = await node.ask('update', 'sys/replication/primary/secondary-token', { id: 'us' })
  expect(issued.wrapToken).toMatch(/^ey/)
  expect((await node.ask('update', 'sys/replication/primary/revoke-secondary', { id: 'us' })).status).toBe(200)
  expect((await node.ask('update', 'sys/replication/primary/demote')).status).toBe(200)
  await settled(node, 'performance', 'secondary')
  expect(await node.change('sys/replication/secondary/update-primary', { token: '' })).toBe('changed')
  expect(await node.ask('update', 'sys/replication/secondary/promote', { force: true })).toMatchObject({ status: 200 })
  await settled(node, 'performance', 'primary')
  expect((await node.ask('update', 'sys/replication/primary/disable')).status).toBe(200)
  await settled(node, 'performance', 'disabled')
  expect(await node.ask('update', 'sys/replication/secondary/enable', { token: 'x' })).toEqual(
    invalid(expect.stringContaining('token')),
  )
  expect(await node.ask('update', 'sys/replication/secondary/disable')).toEqual(
    invalid('cluster is not a performance replication secondary'),
  )
  await closeAll()
})

test('status without any role, and the unknown', async () => {
  const node = await started()
  const anonymous = { token: '' }
  expect(await node.ask('read', 'sys/replication/status', {}, anonymous)).toEqual({
    ...{ status: 200, warnings: null },
    data: { dr: { mode: 'disabled' }, performance: { mode: 'disabled' } },
  })
  for (const kind of ['performance', 'dr']) {
    expect(await node.ask('read', `sys/replication/${kind}/status`, {}, anonymous)).toEqual({
      ...{ status: 200, warnings: null, data: { mode: 'disabled' } },
    })
  }
  expect(await node.ask('update', 'sys/replication/performance/primary/mount-filter/x')).toMatchObject({
    ...{ code: 'CORE_NOT_FOUND', error: expect.stringContaining('unsupported path') },
  })
  await closeAll()
})

test('the fields of a sync, as numbers and in both places', () => {
  expect(syncFields({ progress: 3, total: 7 })).toEqual({
    ...{ sync_progress: 3, sync_total_keys: 7, merkle_sync_progress: { sync_progress: 3, sync_total_keys: 7 } },
  })
  expect(syncFields(null)).toEqual({})
})

test('resolver_discover_servers: what the primary tells of is dialled, or not', async () => {
  const primary = await started()
  const told = String((await primary.core.leader()).leader_cluster_address)
  const given = told.replace('127.0.0.1', 'localhost')
  await primary.change('sys/replication/performance/primary/enable', { primary_cluster_addr: given })
  for (const resolverDiscoverServers of [true, false]) {
    const secondary = await startNode({ core: { resolverDiscoverServers } })
    nodes.push(secondary)
    await secondary.init()
    await link(primary, secondary, 'performance', `resolving-${resolverDiscoverServers}`)
    await inSync(primary, secondary, 'performance')
    const peers = await waitFor('a heartbeat', async () => {
      const { primaries } = await secondary.status('performance')
      return (primaries as { cluster_address: string }[])[0]?.cluster_address === told && primaries
    })
    expect(peers).toHaveLength(1)
    expect((await secondary.status('performance')).known_primary_cluster_addrs).toEqual(
      resolverDiscoverServers ? [told, given] : [given],
    )
  }
  await closeAll()
})

test('enable_unauthenticated_access: what is not listed asks for a token, on a DR secondary for one of its primary', async () => {
  const primary = await started()
  await primary.change('sys/replication/dr/primary/enable')
  const dr = await startNode({ core: { unauthenticatedAccess: ['generate-root'] } })
  nodes.push(dr)
  await dr.init()
  const denied = { code: 'CORE_PERMISSION_DENIED', message: 'permission denied' }
  const asking = (node: Node, kind: 'root' | 'dr-operation', token: string) =>
    node.core.generateRoot(kind, 'status', {}, { token, path: `sys/${kind}/attempt`, remoteAddress: '127.0.0.1' })
  expect(await asking(dr, 'root', '')).toMatchObject({ started: false })

  await link(primary, dr, 'dr', 'dr')
  await inSync(primary, dr, 'dr')
  for (const token of ['', 'hvs.unknown', 'hvb.unknown']) {
    await expect(asking(dr, 'dr-operation', token), token).rejects.toMatchObject(denied)
  }
  expect(await asking(dr, 'dr-operation', primary.token)).toMatchObject({ started: false })

  const closed = await startNode({ core: { unauthenticatedAccess: [] } })
  nodes.push(closed)
  await closed.init()
  await expect(asking(closed, 'root', '')).rejects.toMatchObject(denied)
  await expect(closed.core.generateRoot('root', 'start', {})).rejects.toMatchObject(denied)
  expect(await asking(closed, 'root', closed.token)).toMatchObject({ started: false })
  const made = await closed.ask('update', 'auth/token/create', { policies: ['default'] })
  expect(await asking(closed, 'root', made.auth!.client_token)).toMatchObject({ started: false })
  await closeAll()
})

test('who must show a token, and who must have sudo', async () => {
  const node = await started()
  await node.ask('update', 'sys/policies/acl/all', {
    policy: 'path "sys/*" { capabilities = ["create", "read", "update", "delete", "list"] }',
  })
  const made = await node.ask('update', 'auth/token/create', { policies: ['all'], no_default_policy: true })
  const [weak, nobody] = [{ token: made.auth!.client_token }, { token: '' }]
  const denied = { code: 'CORE_PERMISSION_DENIED' }
  const sudo = [
    'primary/secondary-token',
    'performance/primary/secondary-token',
    'dr/primary/secondary-token',
    'reindex',
    'performance/reindex',
    'dr/reindex',
  ]
  for (const path of sudo) {
    expect(await node.ask('update', `sys/replication/${path}`, { id: 'x' }, weak), path).toMatchObject(denied)
  }
  // A token, and no sudo: what refuses is the role.
  for (const path of ['recover', 'performance/primary/demote', 'dr/primary/disable', 'primary/revoke-secondary']) {
    expect(await node.ask('update', `sys/replication/${path}`, { id: 'x' }, weak), path).toMatchObject(
      invalid(expect.any(String)),
    )
    expect(await node.ask('update', `sys/replication/${path}`, { id: 'x' }, nobody), path).toMatchObject(denied)
  }
  expect(await node.ask('update', 'sys/replication/merkle-check', {}, weak)).toMatchObject({ status: 200 })
  expect(await node.ask('update', 'sys/replication/merkle-check', {}, nobody)).toMatchObject(denied)
  // Without a token: the DR secondary's own, which this cluster is not.
  for (const path of ['promote', 'disable', 'recover', 'update-primary', 'reindex', 'operation-token/delete']) {
    const answer = await node.ask('update', `sys/replication/dr/secondary/${path}`, { dr_operation_token: 'x' }, nobody)
    expect(answer, path).toEqual(invalid('Not a DR secondary.'))
  }
  const reload = 'sys/replication/dr/secondary/sys/config/reload/license'
  expect(await node.ask('update', reload, {}, nobody)).toEqual(invalid('Not a DR secondary.'))
  expect(await node.ask('read', 'sys/replication/dr/secondary/license/status', {}, nobody)).toEqual(
    invalid('Not a DR secondary.'),
  )
  // These are not on Vault's list: a token is asked for before anything else.
  for (const path of ['merkle-check', 'config/reload/license', 'generate-public-key']) {
    expect(await node.ask('update', `sys/replication/dr/secondary/${path}`, {}, nobody), path).toMatchObject(denied)
  }
  await closeAll()
})

describe('the Merkle index', () => {
  let node: Node
  const epoch = expect.stringMatching(/^\d{10}$/)

  beforeAll(async () => {
    node = await started()
    await node.ask('update', 'sys/mounts/kv', { type: 'kv' })
    for (let n = 0; n < 20; n++) await node.ask('update', `kv/${n}`, { n })
    await node.change('sys/replication/performance/primary/enable')
    await node.change('sys/replication/dr/primary/enable')
  })
  afterAll(closeAll)

  const tree = (type: string) => ({
    corrupted_subtree_root: false,
    // 20 bytes, as SHA-1 has.
    root_hash: expect.stringMatching(/^[A-Za-z0-9+/]{27}=$/),
    tree_type: type,
    corrupted_index_tuples_map: null,
  })
  const sound = {
    corrupted_root: false,
    last_corruption_check_epoch: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    corrupted_tree_map: { '1': tree('replicated'), '2': tree('local') },
  }

  /** Rows of the stored index whose key has `text` in it, made wrong on disk. */
  async function spoil(text: string): Promise<number> {
    let spoilt = 0
    for await (const [key, value] of node.store.scan({})) {
      if (!/(?:^|\/)i\/(?:replicated|local)\//.test(key) || !Buffer.from(value).includes(text)) continue
      const wrong = Buffer.from(value)
      wrong[0] = wrong[0]! ^ 0xff
      await node.store.put(key, wrong)
      spoilt++
    }
    return spoilt
  }
  const idle = (): Promise<unknown> =>
    waitFor('the reindex to end', async () => (await node.status('dr')).reindex_in_progress === undefined)

  test('before anything was checked', async () => {
    expect(await node.status('performance')).toMatchObject({
      ...{ last_reindex_epoch: '0', corrupted_merkle_tree: false, last_corruption_check_epoch: '-62135596800' },
    })
  })

  test('merkle-check of a sound index, by POST and by GET', async () => {
    for (const operation of ['update', 'read'] as const) {
      expect(await node.ask(operation, 'sys/replication/merkle-check')).toEqual({
        ...{ status: 200, warnings: null, data: { merkle_corruption_report: sound } },
      })
    }
    for (const kind of ['performance', 'dr'] as const) {
      expect(await node.status(kind)).toMatchObject({
        ...{ corrupted_merkle_tree: false, last_corruption_check_epoch: epoch },
      })
    }
  })

  test('merkle-check names pages and subpages of what is corrupt, in the tree it is in', async () => {
    const local = await spoil('sys/token/id/')
    expect(local).toBe(1)
    const { data } = await node.ask('update', 'sys/replication/merkle-check')
    const report = data!.merkle_corruption_report as typeof sound
    expect(report).toMatchObject({
      corrupted_root: true,
      corrupted_tree_map: { '2': { corrupted_subtree_root: true, tree_type: 'local' } },
    })
    const tuples = report.corrupted_tree_map['2'].corrupted_index_tuples_map as unknown as Record<string, unknown>
    const subpages = Object.entries(tuples).flatMap(([page, tuple]) => {
      expect(Number(page)).toBeGreaterThanOrEqual(0)
      expect(Number(page)).toBeLessThan(256)
      expect(tuple).toEqual({ corrupted: true, subpages: expect.any(Array) })
      return (tuple as { subpages: number[] }).subpages
    })
    expect(subpages).toHaveLength(local)
    expect(subpages.every((subpage) => Number.isInteger(subpage) && subpage >= 0 && subpage < 256)).toBe(true)
    // What is local is no concern of performance replication.
    expect((await node.status('performance')).corrupted_merkle_tree).toBe(false)
    expect((await node.status('dr')).corrupted_merkle_tree).toBe(true)
    // It repairs nothing.
    expect(
      ((await node.ask('update', 'sys/replication/merkle-check')).data!.merkle_corruption_report as typeof sound)
        .corrupted_root,
    ).toBe(true)
  })

  test('reindex repairs it in the background, and writes go on', async () => {
    const answer = await node.ask('update', 'sys/replication/reindex')
    expect(answer).toEqual({ status: 200, data: null, warnings: [expect.stringContaining('in the background')] })
    expect(await node.ask('update', 'kv/during', { reindex: true })).toMatchObject({ status: 204 })
    await idle()
    expect(await node.status('performance')).toMatchObject({ last_reindex_epoch: epoch, corrupted_merkle_tree: false })
    expect((await node.ask('update', 'sys/replication/merkle-check')).data).toEqual({ merkle_corruption_report: sound })
  })

  test('one at a time, with its progress in the status of both kinds', async () => {
    expect((await node.ask('update', 'sys/replication/performance/reindex', { diff: true })).status).toBe(200)
    const [performance, dr] = [await node.status('performance'), await node.status('dr')]
    for (const status of [performance, dr]) {
      expect(status).toMatchObject({
        ...{ reindex_in_progress: true, reindex_stage: expect.stringMatching(/^(building|verifying)$/) },
        ...{ reindex_building_progress: expect.any(Number), reindex_building_total: expect.any(Number) },
      })
    }
    const busy = invalid('a reindex is in progress; wait until it is done')
    expect(await node.ask('update', 'sys/replication/dr/reindex')).toEqual(busy)
    expect(await node.ask('update', 'sys/replication/merkle-check')).toEqual(busy)
    await idle()
    expect(await node.status('performance')).not.toHaveProperty('reindex_stage')
  })

  test('diff, force and skip_flush; what is not a boolean is named', async () => {
    await spoil('sys/token/id/')
    const forced = await node.ask('update', 'sys/replication/dr/reindex', {
      force: true,
      skip_flush: true,
      diff: 'true',
    })
    expect(forced).toEqual({
      ...{ status: 200, data: null },
      warnings: [expect.stringContaining('rebuilding its Merkle index'), expect.stringContaining('skip_flush')],
    })
    await idle()
    expect((await node.ask('update', 'sys/replication/merkle-check')).data).toEqual({ merkle_corruption_report: sound })
    for (const name of ['diff', 'force', 'skip_flush']) {
      expect(await node.ask('update', 'sys/replication/reindex', { [name]: 'perhaps' })).toEqual(
        invalid(expect.stringContaining(name)),
      )
    }
  })

  test('what was found outlives a restart', async () => {
    const before = await node.status('dr')
    const again = await node.restart()
    nodes.push(again)
    await again.unseal()
    expect(await again.status('dr')).toMatchObject({
      last_reindex_epoch: before.last_reindex_epoch,
      last_corruption_check_epoch: before.last_corruption_check_epoch,
    })
    node = again
  })
})

describe('on a DR secondary', () => {
  let primary: Node
  let dr: Node
  let consent: { dr_operation_token: string }
  const anonymous = { token: '' }
  const base = 'sys/replication/dr/secondary'
  const ask = (path: string, data: Record<string, unknown> = consent) =>
    dr.ask('update', `${base}/${path}`, data, anonymous)

  beforeAll(async () => {
    primary = await started()
    await primary.change('sys/replication/dr/primary/enable')
    dr = await started()
    await link(primary, dr, 'dr', 'dr')
    await inSync(primary, dr, 'dr')
    consent = { dr_operation_token: await generate(dr, 'dr-operation') }
  })
  afterAll(closeAll)

  test('reindex, merkle-check, recover, generate-public-key and config/reload ask for the operation token', async () => {
    const paths = ['reindex', 'merkle-check', 'recover', 'generate-public-key', 'config/reload/license']
    for (const path of [...paths, 'sys/config/reload/license']) {
      expect(await ask(path, {}), path).toEqual(invalid('dr_operation_token: expected a DR operation token'))
      expect(await ask(path, { dr_operation_token: 'hvr.x' }), path).toEqual({
        code: 'CORE_PERMISSION_DENIED',
        error: 'permission denied',
      })
    }
    expect(await ask('reindex')).toEqual({ status: 200, data: null, warnings: [expect.any(String)] })
    await waitFor('the reindex', async () => (await dr.status('dr')).last_reindex_epoch !== '0')
    expect((await ask('merkle-check')).data).toMatchObject({ merkle_corruption_report: { corrupted_root: false } })
    expect(await ask('recover')).toEqual({
      status: 200,
      data: null,
      warnings: [expect.stringMatching(/^dr: the link/)],
    })
    await inSync(primary, dr, 'dr')
    expect((await ask('generate-public-key')).data).toEqual({ secondary_public_key: expect.any(String) })
    for (const path of ['config/reload/license', 'sys/config/reload/license']) {
      expect((await ask(path)).status).toBe(204)
    }
    expect(await ask('config/reload/other')).toEqual(invalid(expect.stringContaining('subsystem: expected license')))
  })

  test('license/status as sys/license/status elsewhere', async () => {
    const none = { autoload_used: false, autoloaded: null, persisted_autoload: null }
    expect(await dr.ask('read', `${base}/license/status`, {}, anonymous)).toEqual({
      status: 200,
      data: none,
      warnings: null,
    })
    expect((await primary.ask('read', 'sys/license/status')).data).toEqual(none)
    expect((await primary.ask('update', 'sys/config/reload/license')).status).toBe(204)
    expect(await primary.ask('update', 'sys/config/reload/x')).toEqual(invalid(expect.stringContaining('subsystem')))
  })

  test('anything else is disabled, with a token or without', async () => {
    const disabled = invalid('path disabled in replication DR secondary mode')
    for (const path of [
      'sys/mounts',
      'sys/replication/reindex',
      'sys/replication/merkle-check',
      'auth/token/lookup-self',
    ]) {
      expect(await dr.ask('update', path, consent, { token: primary.token }), path).toEqual(disabled)
    }
    expect(await dr.ask('update', 'sys/replication/performance/secondary/promote', consent)).toEqual(disabled)
  })

  test('the status documents: its own, performance disabled', async () => {
    expect(await dr.status('performance')).toEqual({ mode: 'disabled' })
    expect(await dr.status('dr')).toMatchObject({ mode: 'secondary', secondary_id: 'dr', state: 'stream-wals' })
    const { body } = await dr.core.health()
    expect(body).toMatchObject({ replication_dr_mode: 'secondary', replication_performance_mode: 'disabled' })
  })
})

describe('recover', () => {
  afterEach(closeAll)

  test('without a role it is refused; a primary has nothing to retry', async () => {
    const node = await started()
    expect(await node.ask('update', 'sys/replication/recover')).toEqual(
      invalid('replication is not enabled on this cluster'),
    )
    await node.change('sys/replication/performance/primary/enable')
    expect(await node.ask('update', 'sys/replication/recover')).toEqual({
      ...{ status: 200, data: null, warnings: [expect.stringMatching(/^performance: a primary dials nobody/)] },
    })
    await node.change('sys/replication/performance/primary/demote')
    expect((await node.ask('update', 'sys/replication/recover')).warnings).toEqual([
      expect.stringMatching(/^performance: this secondary dials no primary/),
    ])
  })

  test('a link that is up is compared anew', async () => {
    const primary = await started()
    await primary.change('sys/replication/performance/primary/enable')
    const secondary = await started()
    await link(primary, secondary, 'performance', 'us')
    await inSync(primary, secondary, 'performance')
    secondary.token = await generate(secondary, 'root')
    const { warnings } = await secondary.ask('update', 'sys/replication/recover')
    expect(warnings).toEqual([expect.stringMatching(/^performance: the link to the primary is up/)])
    await waitFor('the comparison', async () =>
      /operator/.test(String((await secondary.status('performance')).last_diff_reason)),
    )
    await inSync(primary, secondary, 'performance')

    await primary.close()
    await waitFor(
      'the link to end',
      async () => (await secondary.status('performance')).connection_state === 'transient_failure',
    )
    expect((await secondary.ask('update', 'sys/replication/recover')).warnings).toEqual([
      expect.stringMatching(/^performance: there is no link to the primary; it is dialled now/),
    ])
  })
})

describe('filters', () => {
  let primary: Node
  let secondary: Node
  const filter = 'sys/replication/performance/primary/paths-filter'
  const dynamic = (side: string, id: string): string => `sys/replication/performance/${side}/dynamic-filter/${id}`

  beforeAll(async () => {
    primary = await started()
    await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
    await primary.change('sys/replication/performance/primary/enable')
    secondary = await started()
    await link(primary, secondary, 'performance', 'us')
    await inSync(primary, secondary, 'performance')
    secondary.token = await generate(secondary, 'root')
  })
  afterAll(closeAll)

  test('unset it is not found', async () => {
    for (const path of [`${filter}/us`, dynamic('primary', 'us')]) {
      expect((await primary.ask('read', path)).status ?? 404, path).toBe(404)
    }
    expect((await primary.ask('read', `${filter}/us`)).data ?? null).toBeNull()
    expect((await secondary.ask('read', dynamic('secondary', 'us'))).data ?? null).toBeNull()
  })

  test('set for paths that are there and paths that may come, auth mounts among them; 204', async () => {
    const paths = 'kv/,future/,auth/ldap/'
    expect(await primary.ask('update', `${filter}/us`, { mode: 'deny', paths })).toMatchObject({ status: 204 })
    expect(await primary.ask('read', `${filter}/us`)).toEqual({
      ...{ status: 200, warnings: null, data: { mode: 'deny', paths: ['kv/', 'future/', 'auth/ldap/'] } },
    })
    expect(await primary.ask('read', dynamic('primary', 'us'))).toEqual({
      ...{ status: 200, warnings: null },
      data: { dynamic_filtered_mounts: ['kv/'], dynamic_filtered_namespaces: [] },
    })
    await primary.ask('update', 'sys/mounts/future', { type: 'kv' })
    expect((await primary.ask('read', dynamic('primary', 'us'))).data).toMatchObject({
      dynamic_filtered_mounts: ['future/', 'kv/'],
    })
  })

  test('the secondary is told that there is one, and no names', async () => {
    const answer = await waitFor('the filter', async () => {
      const found = await secondary.ask('read', dynamic('secondary', 'us'))
      return found.status === 200 && found
    })
    expect(answer).toEqual({
      status: 200,
      data: { dynamic_filtered_mounts: [], dynamic_filtered_namespaces: [] },
      warnings: [expect.stringContaining('is told nothing of what it withholds')],
    })
    expect((await secondary.ask('read', dynamic('secondary', 'other'))).data ?? null).toBeNull()
    expect(await primary.ask('read', dynamic('secondary', 'us'))).toEqual(
      invalid('cluster is not a performance replication secondary'),
    )
    expect(await secondary.ask('read', dynamic('primary', 'us'))).toEqual(
      invalid('cluster is not a performance replication primary'),
    )
  })

  test('mode is allow unless given; removed by DELETE, 204', async () => {
    expect((await primary.ask('update', `${filter}/later`, { paths: ['kv/'] })).status).toBe(204)
    expect((await primary.ask('read', `${filter}/later`)).data).toEqual({ mode: 'allow', paths: ['kv/'] })
    for (const id of ['later', 'us', 'never-set']) {
      expect(await primary.ask('delete', `${filter}/${id}`), id).toMatchObject({ status: 204 })
    }
    expect((await primary.ask('read', `${filter}/us`)).data ?? null).toBeNull()
    await inSync(primary, secondary, 'performance')
  })

  test('what is wrong is named by its field', async () => {
    const bad: [Record<string, unknown>, RegExp][] = [
      [{}, /^paths: expected/],
      [{ mode: 'block', paths: ['kv/'] }, /^mode/],
      [{ mode: 7, paths: ['kv/'] }, /^mode/],
      [{ mode: 'deny', paths: ['ok/', 'sys/'] }, /^paths\[1\]: cannot be filtered/],
      [{ mode: 'deny', paths: ['../x'] }, /^paths\[0\]/],
      [{ mode: 'deny', paths: ['auth/'] }, /^paths\[0\]: must name an auth mount/],
      [{ mode: 'deny', paths: [{ a: 1 }] }, /"paths"/],
      [{ mode: { a: 1 }, paths: ['kv/'] }, /"mode"/],
    ]
    for (const [data, message] of bad) {
      expect(await primary.ask('update', `${filter}/us`, data), JSON.stringify(data)).toEqual(
        invalid(expect.stringMatching(message)),
      )
    }
    expect(await primary.ask('update', `${filter}/${'x'.repeat(64)}`, { paths: ['kv/'] })).toEqual(
      invalid(expect.stringMatching(/^id/)),
    )
  })
})

describe('client_cert_pem and client_key_pem', () => {
  afterEach(closeAll)

  test('go together, belong together, and are checked before the token is spent', async () => {
    const primary = await started()
    await primary.change('sys/replication/performance/primary/enable')
    const secondary = await started()
    const token = await activationToken(primary, 'performance', 'us')
    const enable = 'sys/replication/performance/secondary/enable'
    // The API of this test speaks plain HTTP, where nothing is presented; the checks are the same.
    const answer = await secondary.ask('update', enable, {
      ...{ token, primary_api_addr: 'https://127.0.0.1:1', client_cert_pem: 'x' },
    })
    expect(answer).toEqual(invalid('client_key_pem: expected the key of client_cert_pem'))
    expect(
      await secondary.ask('update', enable, { token, primary_api_addr: 'https://127.0.0.1:1', client_key_pem: 'x' }),
    ).toEqual(invalid('client_cert_pem: expected the certificate of client_key_pem'))
    const bad = { token, primary_api_addr: 'https://127.0.0.1:1', client_cert_pem: 'x', client_key_pem: 'y' }
    expect(await secondary.ask('update', enable, bad)).toEqual(
      invalid('client_cert_pem: expected a certificate in PEM'),
    )
    expect(await secondary.change(enable, { token })).toBe('changed')
  })
})
