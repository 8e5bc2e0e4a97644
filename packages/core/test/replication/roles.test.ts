import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { activationToken, generate, inSync, link, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'

const nodes: Node[] = []
async function started(options: NodeOptions = {}, shares = 1, threshold = 1): Promise<Node> {
  const node = await startNode(options)
  nodes.push(node)
  await node.init(shares, threshold)
  return node
}
const closeAll = async (): Promise<void> => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
}

describe('changes of role', () => {
  afterEach(closeAll)

  test('of two at once the second is refused, and the first is carried out', async () => {
    const node = await started()
    const [first, second] = await Promise.all([
      node.ask('update', 'sys/replication/performance/primary/enable'),
      node.ask('update', 'sys/replication/dr/primary/enable'),
    ])
    expect(first).toMatchObject({ status: 200, warnings: [expect.stringContaining('enabled as a primary')] })
    expect(second).toMatchObject({ code: 'CORE_UNAVAILABLE', error: expect.stringContaining('under way') })
    await waitFor('the role', async () => (await node.status('performance')).mode === 'primary')
    expect(await node.status('dr')).toEqual({ mode: 'disabled' })
    expect(await node.change('sys/replication/dr/primary/enable')).toBe('changed')
    await expect(node.change('sys/replication/dr/primary/enable')).rejects.toThrow('already enabled')
  })

  test('a refused change leaves the next one free', async () => {
    const node = await started()
    await expect(node.change('sys/replication/performance/secondary/enable', { token: 'x' })).rejects.toThrow('token')
    await expect(node.change('sys/replication/performance/secondary/promote')).rejects.toThrow('not a performance')
    await expect(node.change('sys/replication/dr/secondary/promote')).rejects.toThrow('Not a DR secondary.')
    expect(await node.change('sys/replication/performance/primary/enable')).toBe('changed')
  })

  test('requests during a change wait for it', async () => {
    const node = await started()
    await node.ask('update', 'sys/mounts/kv', { type: 'kv' })
    await node.ask('update', 'sys/replication/dr/primary/enable')
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => node.ask('update', `kv/${n}`, { n })))
    expect(answers.every(({ status }) => status === 204)).toBe(true)
  })

  test('a DR primary cannot become a performance secondary', async () => {
    const primary = await started()
    await primary.change('sys/replication/performance/primary/enable')
    const node = await started()
    await node.change('sys/replication/dr/primary/enable')
    const token = await activationToken(primary, 'performance', 'x')
    await expect(node.change('sys/replication/performance/secondary/enable', { token })).rejects.toThrow(
      'disable DR replication first',
    )
    // The token is not spent.
    await node.change('sys/replication/dr/primary/disable')
    expect(await node.change('sys/replication/performance/secondary/enable', { token })).toBe('changed')
  })

  test('one id is issued once, also to two who ask at the same time', async () => {
    const node = await started()
    await node.change('sys/replication/performance/primary/enable')
    const path = 'sys/replication/performance/primary/secondary-token'
    const answers = await Promise.all([node.ask('update', path, { id: 'us' }), node.ask('update', path, { id: 'us' })])
    expect(answers.filter(({ wrapToken }) => wrapToken !== undefined)).toHaveLength(1)
    expect(answers.find(({ error }) => error !== undefined)).toMatchObject({
      code: 'CORE_INVALID_REQUEST',
      error: expect.stringContaining('exists already'),
    })
    expect((await node.status('performance')).known_secondaries).toEqual(['us'])
    for (const id of ['', 'a/b', '-x', 'x'.repeat(64)]) {
      expect(await node.ask('update', path, { id }), id).toMatchObject({ code: 'CORE_INVALID_REQUEST' })
    }
    for (const ttl of ['0', '-1s', 'soon']) {
      expect(await node.ask('update', path, { id: 'ttl', ttl }), ttl).toMatchObject({ code: 'CORE_INVALID_REQUEST' })
    }
    expect(
      await node.ask('update', 'sys/replication/performance/primary/revoke-secondary', { id: 'us' }),
    ).toMatchObject({ status: 200 })
    expect((await node.ask('update', path, { id: 'us' })).wrapToken).toBeDefined()
  })
})

test('the status documents, field by field', async () => {
  const primary = await started()
  await primary.change('sys/replication/performance/primary/enable', { primary_cluster_addr: '' })
  const secondary = await started()
  await link(primary, secondary, 'performance', 'us')
  await inSync(primary, secondary, 'performance')
  type Peers = { last_heartbeat: string; api_address: string }[]
  await waitFor('heartbeats', async () => {
    const [{ secondaries }, { primaries }] = [
      await primary.status('performance'),
      await secondary.status('performance'),
    ]
    return (secondaries as Peers)[0]?.api_address !== '' && (primaries as Peers)[0]?.last_heartbeat !== ''
  })
  const there = await secondary.status('performance')
  const here = await primary.status('performance')
  const common = {
    cluster_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    merkle_root: expect.stringMatching(/^[0-9a-f]{40}$/),
    last_reindex_epoch: '0',
    corrupted_merkle_tree: false,
    last_corruption_check_epoch: '-62135596800',
    ssct_generation_counter: 0,
  }
  const peer = {
    api_address: expect.stringMatching(/^http:/),
    cluster_address: expect.stringMatching(/^https:/),
    connection_status: 'connected',
    last_heartbeat: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    last_heartbeat_duration_ms: expect.stringMatching(/^\d+$/),
    clock_skew_ms: expect.stringMatching(/^-?\d+$/),
    replication_primary_canary_age_ms: expect.stringMatching(/^\d+$/),
  }
  expect(here).toEqual({
    ...common,
    ...{ mode: 'primary', state: 'running', primary_cluster_addr: '', known_secondaries: ['us'] },
    ...{ last_wal: expect.any(Number), last_performance_wal: expect.any(Number) },
    secondaries: [
      {
        ...peer,
        node_id: 'us',
        state: expect.any(String),
        last_acknowledged_wal: expect.any(Number),
        in_flight_bytes: expect.any(Number),
        ...{ protocol: expect.any(Number), last_error: expect.any(String) },
      },
    ],
  })
  expect(there).toEqual({
    ...common,
    ...{ mode: 'secondary', state: 'stream-wals', connection_state: 'ready', secondary_id: 'us' },
    primary_cluster_addr: expect.stringMatching(/^https:/),
    known_primary_cluster_addrs: [expect.stringMatching(/^https:/)],
    ...{ last_remote_wal: expect.any(Number), last_start: expect.stringMatching(/Z$/) },
    primaries: [peer],
    ...{ lag_ms: expect.any(Number), primary_head_wal: expect.any(Number) },
    ...{ last_diff_reason: expect.any(String), last_error: expect.any(String) },
    ...{ diff_rounds: expect.any(Number), guard_failures: 0, stream_faults: 0, protocol: expect.any(Number) },
    active_primary_cluster_addr: expect.stringMatching(/^https:|^$/),
    ...{ last_primary_failover: '', resumed_links: 0, merkle_diffs: 1 },
  })
  expect(there.merkle_root).toBe(here.merkle_root)
  const { body } = await secondary.core.health()
  expect(body).toEqual({
    ...{ initialized: true, sealed: false, standby: false, performance_standby: false },
    ...{ replication_performance_mode: 'secondary', replication_dr_mode: 'disabled' },
    ...{ server_time_utc: expect.any(Number), version: '1.14.8', enterprise: true },
    ...{ cluster_name: expect.any(String), cluster_id: expect.any(String), last_wal: expect.any(Number) },
    ...{ echo_duration_ms: expect.any(Number), clock_skew_ms: expect.any(Number) },
    license: { state: 'none', expiry_time: '', terminated: false },
    replication_primary_canary_age_ms: expect.any(Number),
  })
  await closeAll()
})

describe('forwarding', () => {
  let primary: Node
  let secondary: Node
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

  test('a write is made on the primary and seen at once', async () => {
    expect(await secondary.ask('update', 'kv/a', { by: 'secondary' })).toMatchObject({ status: 204 })
    expect((await secondary.ask('read', 'kv/a')).data).toEqual({ by: 'secondary' })
    expect((await primary.ask('read', 'kv/a')).data).toEqual({ by: 'secondary' })
  })

  test("the primary's refusal reaches the client as it is", async () => {
    expect(await secondary.ask('update', 'kv/a', { refuse: true })).toEqual({
      code: 'CORE_INVALID_REQUEST',
      error: 'refused as asked',
    })
  })

  test('data written under a new term of the keyring is readable here', async () => {
    await primary.ask('update', 'sys/rotate')
    await primary.ask('update', 'sys/mounts/later', { type: 'kv' })
    await primary.ask('update', 'later/a', { term: 2 })
    await inSync(primary, secondary, 'performance')
    expect((await secondary.ask('read', 'later/a')).data).toEqual({ term: 2 })
    expect(secondary.logged.filter((line) => line.startsWith('error'))).toEqual([])
  })

  test('without a primary: a clear error, and reads go on', async () => {
    await primary.close()
    await waitFor('the link to end', async () => (await secondary.status('performance')).connection_state !== 'ready')
    const answer = await secondary.ask('update', 'kv/a', { lost: true })
    expect(answer.code).toBe('CORE_UNAVAILABLE')
    expect(answer.error).toMatch(
      /^errors from both primary and secondary; primary error was .*; secondary errors follow:/,
    )
    expect((await secondary.ask('read', 'kv/a')).data).toEqual({ by: 'secondary' })
  })
})

describe('disaster recovery', () => {
  let primary: Node
  let dr: Node
  const promote = 'sys/replication/dr/secondary/promote'
  const anonymous = { token: '' }

  beforeAll(async () => {
    primary = await started({}, 3, 2)
    await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
    await primary.change('sys/replication/performance/primary/enable')
    await primary.change('sys/replication/dr/primary/enable')
    dr = await started()
    await link(primary, dr, 'dr', 'dr')
    await inSync(primary, dr, 'dr')
  })
  afterAll(closeAll)

  let policies = 0
  async function batch(rules: string, fields: Record<string, unknown> = {}): Promise<string> {
    const policy = `dr-${policies++}`
    await primary.ask('update', `sys/policies/acl/${policy}`, { policy: rules })
    const made = await primary.ask('update', 'auth/token/create-orphan', {
      ...{ type: 'batch', policies: [policy], ttl: '1h', renewable: false, no_default_policy: true },
      ...fields,
    })
    await inSync(primary, dr, 'dr')
    return made.auth!.client_token
  }

  test('it serves nothing else, and shows the set of its primary', async () => {
    expect(await dr.ask('read', 'sys/mounts', {}, anonymous)).toMatchObject({ code: 'CORE_INVALID_REQUEST' })
    expect((await dr.core.health()).state).toBe('dr-secondary')
    expect((await dr.status('dr')).cluster_id).toBe((await primary.status('dr')).cluster_id)
    await expect(dr.core.generateRoot('root', 'start', {})).rejects.toThrow('path disabled in replication DR secondary')
    await expect(primary.core.generateRoot('dr-operation', 'start', {})).rejects.toThrow('Not a DR secondary.')
  })

  test('tokens that do not permit the change', async () => {
    const reading = await batch('path "sys/replication/dr/secondary/promote" { capabilities = ["read"] }')
    const elsewhere = await batch('path "sys/replication/dr/secondary/disable" { capabilities = ["update"] }')
    const allowed = 'path "sys/replication/dr/secondary/promote" { capabilities = ["update"] }'
    const short = await batch(allowed, { ttl: '1s' })
    const service = await primary.ask('update', 'auth/token/create', { policies: ['dr-2'] })
    await inSync(primary, dr, 'dr')
    await new Promise((resolve) => setTimeout(resolve, 1100))
    for (const token of [
      reading,
      elsewhere,
      short,
      service.auth!.client_token,
      'hvb.x',
      'hvs.x',
      'x',
      'x'.repeat(99_999),
    ]) {
      const answer = await dr.ask('update', promote, { dr_operation_token: token }, anonymous)
      expect(answer, token.slice(0, 8)).toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
    }
  })

  test('a batch token for one path is refused on every other', async () => {
    const token = await batch('path "sys/replication/dr/secondary/promote" { capabilities = ["update"] }')
    const fields = { dr_operation_token: token, dry_run: true }
    expect(await dr.ask('update', promote, fields, anonymous)).toMatchObject({
      status: 200,
      data: { mode: 'secondary' },
    })
    for (const name of [
      'disable',
      'update-primary',
      'operation-token/delete',
      'unreplicated',
      'unreplicated/x/entry',
    ]) {
      const path = `sys/replication/dr/secondary/${name}`
      const answer = await dr.ask('update', path, { dr_operation_token: token, token: '' }, anonymous)
      expect(answer, name).toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
    }
    expect((await dr.status('dr')).mode).toBe('secondary')
  })

  test('a root token of the primary is one', async () => {
    const path = 'sys/replication/dr/secondary/operation-token/delete'
    expect(await dr.ask('update', path, { dr_operation_token: primary.token }, anonymous)).toMatchObject({
      status: 204,
    })
    const made = await primary.ask('update', 'auth/token/create', { policies: ['root'] })
    const token = made.auth!.client_token
    await primary.ask('update', 'auth/token/revoke', { token })
    await inSync(primary, dr, 'dr')
    expect(await dr.ask('update', path, { dr_operation_token: token }, anonymous)).toMatchObject({
      code: 'CORE_PERMISSION_DENIED',
    })
  })

  test("the operators' shares make an operation token, which can be deleted", async () => {
    const token = await generate(dr, 'dr-operation')
    const path = 'sys/replication/dr/secondary/operation-token/delete'
    expect(await dr.ask('update', path, { dr_operation_token: token }, anonymous)).toMatchObject({ status: 204 })
    expect(await dr.ask('update', path, { dr_operation_token: token }, anonymous)).toMatchObject({
      code: 'CORE_PERMISSION_DENIED',
    })
  })

  test('a batch token that permits it promotes; secondaries of the performance set follow the new primary', async () => {
    const secondary = await started()
    await link(primary, secondary, 'performance', 'us')
    await inSync(primary, secondary, 'performance')
    await primary.ask('update', 'kv/a', { before: 'the disaster' })
    await inSync(primary, secondary, 'performance')
    const token = await batch('path "sys/replication/dr/secondary/*" { capabilities = ["read", "update"] }')
    await primary.close()
    expect(await dr.change(promote, { dr_operation_token: token })).toBe('changed')
    dr.token = primary.token
    expect((await dr.core.health()).body).toMatchObject({
      replication_dr_mode: 'primary',
      replication_performance_mode: 'primary',
    })
    expect((await dr.ask('read', 'kv/a')).data).toEqual({ before: 'the disaster' })
    expect(await dr.status('performance')).toMatchObject({ known_secondaries: ['us'] })

    secondary.token = await generate(secondary, 'root')
    const update = 'sys/replication/performance/secondary/update-primary'
    await expect(secondary.change(update, { update_primary_addrs: '127.0.0.1:1' })).rejects.toThrow(
      'no primary answers',
    )
    await expect(secondary.change(update, { update_primary_addrs: 'no address at all' })).rejects.toThrow('host:port')
    const address = String((await dr.core.leader()).leader_cluster_address)
    expect(await secondary.change(update, { update_primary_addrs: ['127.0.0.1:1', address] })).toBe('changed')
    await inSync(dr, secondary, 'performance')
    await dr.ask('update', 'kv/a', { after: 'failover' })
    await inSync(dr, secondary, 'performance')
    expect((await secondary.ask('read', 'kv/a')).data).toEqual({ after: 'failover' })
    // The new address is the first to be dialled after a restart too.
    expect((await secondary.status('performance')).primary_cluster_addr).toBe(address)

    // The primary that comes back is fenced: this secondary has followed a later epoch.
    const old = await primary.restart()
    nodes.push(old)
    await old.unseal()
    const back = String((await old.core.leader()).leader_cluster_address)
    expect(await secondary.change(update, { update_primary_addrs: back })).toBe('changed')
    await waitFor('the refusal', async () => /epoch/.test(String((await secondary.status('performance')).last_error)))
    expect((await secondary.ask('read', 'kv/a')).data).toEqual({ after: 'failover' })
  })
})

test("the DR secondary of a performance secondary takes its place, with the same credentials; a disabled one takes nobody's", async () => {
  const primary = await started()
  await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await primary.change('sys/replication/performance/primary/enable')
  const secondary = await started()
  await link(primary, secondary, 'performance', 'us')
  await inSync(primary, secondary, 'performance')
  secondary.token = await generate(secondary, 'root')
  await secondary.ask('update', 'sys/mounts/here', { type: 'kv', local: true })
  await secondary.ask('update', 'here/a', { local: 'yes' })
  await secondary.change('sys/replication/dr/primary/enable')
  const [dr, other] = [await started(), await started()]
  for (const [id, node] of Object.entries({ dr, other })) {
    await link(secondary, node, 'dr', id)
    await inSync(secondary, node, 'dr')
  }

  const consent = await generate(other, 'dr-operation')
  expect(await other.change('sys/replication/dr/secondary/disable', { dr_operation_token: consent })).toBe('changed')
  expect((await other.core.health()).body).toMatchObject({
    replication_dr_mode: 'disabled',
    replication_performance_mode: 'disabled',
  })

  await secondary.close()
  const token = await generate(dr, 'dr-operation')
  expect(await dr.change('sys/replication/dr/secondary/promote', { dr_operation_token: token })).toBe('changed')
  await inSync(primary, dr, 'performance')
  expect(await dr.status('performance')).toMatchObject({ mode: 'secondary', secondary_id: 'us' })
  dr.token = secondary.token
  expect((await dr.ask('read', 'here/a')).data).toEqual({ local: 'yes' })
  expect(await dr.ask('update', 'kv/a', { through: 'the new one' })).toMatchObject({ status: 204 })
  expect((await primary.ask('read', 'kv/a')).data).toEqual({ through: 'the new one' })
  await closeAll()
})

test('a promoted secondary leads in a later epoch than it ever followed, also when it was detached', async () => {
  const primary = await started()
  await primary.change('sys/replication/performance/primary/enable')
  // Each promotion begins an epoch: the primary is far ahead of a new cluster's own.
  for (let round = 0; round < 3; round++) {
    await primary.change('sys/replication/performance/primary/demote')
    await primary.change('sys/replication/performance/secondary/promote')
  }
  const [next, other] = [await started(), await started()]
  for (const [id, node] of Object.entries({ next, other })) {
    await link(primary, node, 'performance', id)
    await inSync(primary, node, 'performance')
    node.token = await generate(node, 'root')
  }
  const update = 'sys/replication/performance/secondary/update-primary'
  expect(await next.change(update, { token: '' })).toBe('changed')
  expect(await next.status('performance')).toMatchObject({ state: 'idle', known_primary_cluster_addrs: [] })
  // What the primary wrote since cannot be known.
  const promote = 'sys/replication/performance/secondary/promote'
  await expect(next.change(promote)).rejects.toThrow('it has no primary to follow; set force')
  expect(await next.change(promote, { force: true })).toBe('changed')
  const token = await activationToken(next, 'performance', 'other')
  expect(await other.change(update, { token })).toBe('changed')
  await inSync(next, other, 'performance')
  await closeAll()
})
