// What a promotion may lose is told beforehand, written down, and kept by the old primary when it comes back.
import { afterEach, describe, expect, test } from 'vitest'
import { activationToken, generate, inSync, link, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'

const nodes: Node[] = []
const keep = (node: Node): Node => {
  nodes.push(node)
  return node
}
async function started(options: NodeOptions = {}): Promise<Node> {
  const node = keep(await startNode(options))
  await node.init()
  return node
}
async function back(node: Node): Promise<Node> {
  const again = keep(await node.restart())
  await again.unseal()
  return again
}
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

const anonymous = { token: '' }
const promote = 'sys/replication/dr/secondary/promote'
const demote = 'sys/replication/dr/primary/demote'
const update = 'sys/replication/dr/secondary/update-primary'

/** A DR primary with a kv mount, and its secondary, in sync. */
async function pair(options: NodeOptions = {}): Promise<{ primary: Node; dr: Node; consent: string }> {
  const primary = await started(options)
  await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await primary.change('sys/replication/dr/primary/enable')
  const dr = await started(options)
  await link(primary, dr, 'dr', 'dr')
  await primary.ask('update', 'kv/before', { by: 'the old one' })
  await inSync(primary, dr, 'dr')
  return { primary, dr, consent: await generate(dr, 'dr-operation') }
}

async function dryRun(node: Node, consent: string): Promise<Record<string, unknown>> {
  const answer = await node.ask('update', promote, { dr_operation_token: consent, dry_run: true }, anonymous)
  expect(answer).toMatchObject({ status: 200 })
  return answer.data!
}

interface Entry {
  index: number
  key: string
  operation: string
  mount_path: string
}
/** Sets on a DR secondary, with their entries. */
async function sets(node: Node, consent: string): Promise<{ set: Record<string, unknown>; entries: Entry[] }[]> {
  const path = 'sys/replication/dr/secondary/unreplicated'
  const listed = await node.ask('update', path, { dr_operation_token: consent }, anonymous)
  const found: { set: Record<string, unknown>; entries: Entry[] }[] = []
  for (const set of listed.data!.sets as Record<string, unknown>[]) {
    const entries: Entry[] = []
    let after = ''
    do {
      // Two at a time, so that the pages are joined too.
      const fields = { dr_operation_token: consent, limit: 2, after }
      const { data } = await node.ask('update', `${path}/${set.id}`, fields, anonymous)
      entries.push(...(data!.keys as Entry[]))
      after = data!.next as string
    } while (after !== '')
    found.push({ set, entries })
  }
  return found
}

const names = (entries: Entry[]): string[] => entries.map(({ key }) => key.slice(key.lastIndexOf('/') + 1))

describe('planned', () => {
  test('a handover under writes loses no acknowledged write, also when the secondary is restarted in between', async () => {
    const { primary, dr, consent } = await pair()
    const acknowledged: number[] = []
    let stop = false
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let n = writer; !stop; n += 8) {
        const { status } = await primary.ask('update', `kv/${n}`, { n })
        if (status === 204) acknowledged.push(n)
        // A refusal comes without any input or output: let others have their turn.
        else await new Promise((resolve) => setImmediate(resolve))
      }
    })
    await waitFor('some writes', async () => acknowledged.length > 50)
    expect(await primary.change(demote)).toBe('changed')
    stop = true
    await Promise.all(writers)
    expect(await primary.status('dr')).toMatchObject({
      mode: 'secondary',
      handover: [{ id: 'dr', complete: true, index: expect.any(Number) }],
    })
    await primary.close()

    // It has never heard of its primary in this life, and knows all the same.
    const next = await back(dr)
    expect(await dryRun(next, consent)).toMatchObject({
      ...{ mode: 'secondary', handed_over: true, safe: true, reasons: [] },
      ...{ last_heard_index: null, missing_records: null, lag_seconds: null, last_heartbeat: '' },
      last_applied_index: expect.any(Number),
    })
    expect(await next.change(promote, { dr_operation_token: consent })).toBe('changed')
    next.token = primary.token
    for (const n of acknowledged) expect((await next.ask('read', `kv/${n}`)).data).toEqual({ n })
    const { receipts } = (await next.ask('read', 'sys/replication/dr/promotion-receipts')).data as {
      receipts: Record<string, unknown>[]
    }
    expect(receipts).toHaveLength(1)
    expect(receipts[0]).toMatchObject({ handed_over: true, forced: false, reasons: [] })
    expect((await next.ask('read', 'sys/leases/revocation-hold')).data).toMatchObject({ held: false })
    expect(await next.status('dr')).toMatchObject({ lease_revocation_held: false })

    // Failback: nothing was lost, so nothing is kept, and nothing is wiped.
    const old = await back(primary)
    const oldConsent = await generate(old, 'dr-operation')
    const token = await activationToken(next, 'dr', 'nyc')
    expect(await old.change(update, { dr_operation_token: oldConsent, token })).toBe('changed')
    await inSync(next, old, 'dr')
    expect(await sets(old, oldConsent)).toEqual([])
    expect(await old.store.list('')).not.toContain('g1/')
    await next.ask('update', 'kv/after', { failover: true })
    await inSync(next, old, 'dr')

    expect(await next.change(demote)).toBe('changed')
    expect(await dryRun(old, oldConsent)).toMatchObject({ handed_over: true, safe: true })
    expect(await old.change(promote, { dr_operation_token: oldConsent })).toBe('changed')
    expect((await old.ask('read', 'kv/after')).data).toEqual({ failover: true })
  })

  test('a secondary that is not there is named, and is not complete', async () => {
    const { primary, dr, consent } = await pair()
    await dr.close()
    await waitFor('the link to end', async () => {
      const { secondaries } = (await primary.status('dr')) as { secondaries: { connection_status: string }[] }
      return secondaries[0]!.connection_status === 'disconnected'
    })
    await primary.ask('update', 'kv/late', { n: 1 })
    expect(await primary.change(demote)).toBe('changed')
    expect(await primary.status('dr')).toMatchObject({ handover: [{ id: 'dr', complete: false }] })
    expect(primary.logged.join('\n')).toContain('did not get the last record')
    const next = await back(dr)
    const refused = await next.ask('update', promote, { dr_operation_token: consent }, anonymous)
    expect(refused).toMatchObject({ code: 'CORE_UNAVAILABLE', error: expect.stringContaining('set force') })
    // All that was acknowledged is still on the cluster that was demoted, which can lead again.
    const own = await generate(primary, 'dr-operation')
    expect(await primary.change(promote, { dr_operation_token: own })).toBe('changed')
    expect((await primary.ask('read', 'kv/late')).data).toEqual({ n: 1 })
  })

  test('a cluster that handed over does not lead again by itself', async () => {
    const { primary } = await pair()
    expect(await primary.change(demote)).toBe('changed')
    const own = await generate(primary, 'dr-operation')
    expect(await dryRun(primary, own)).toMatchObject({
      safe: false,
      reasons: [expect.stringContaining('handed over to dr')],
    })
    const fields = { dr_operation_token: own, update_primary_addrs: '127.0.0.1:1' }
    expect(await primary.ask('update', update, fields, anonymous)).toMatchObject({
      code: 'CORE_INVALID_REQUEST',
      error: expect.stringContaining('this cluster was demoted'),
    })
  })

  test('performance: the secondary that got the last record is promoted without force', async () => {
    const primary = await started()
    await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
    await primary.change('sys/replication/performance/primary/enable')
    const secondary = await started()
    await link(primary, secondary, 'performance', 'us')
    await primary.ask('update', 'kv/a', { n: 1 })
    expect(await primary.change('sys/replication/performance/primary/demote')).toBe('changed')
    expect(await primary.status('performance')).toMatchObject({ handover: [{ id: 'us', complete: true }] })
    await primary.close()
    const next = await back(secondary)
    next.token = await generate(next, 'root')
    const path = 'sys/replication/performance/secondary/promote'
    const preview = await next.ask('update', path, { dry_run: true })
    expect(preview.data).toMatchObject({ handed_over: true, safe: true })
    expect(await next.change(path)).toBe('changed')
    expect((await next.ask('read', 'kv/a')).data).toEqual({ n: 1 })
    const receipt = await next.ask('read', `sys/replication/performance/promotion-receipts/${preview.data!.next_epoch}`)
    expect(receipt.data).toMatchObject({
      promoted_by: { token: 'root', remote_address: '127.0.0.1' },
      handed_over: true,
    })
  })
})

/** The old primary, with writes that nobody else got, and the cluster that was promoted in its place. */
async function afterDisaster(
  options: NodeOptions = {},
): Promise<{ old: Node; next: Node; receipt: Record<string, unknown> }> {
  const { primary, dr, consent } = await pair(options)
  await dr.close()
  await primary.ask('update', 'kv/lost', { n: 1 })
  await primary.ask('update', 'kv/lost', { n: 2 })
  await primary.ask('update', 'kv/also', { n: 3 })
  await primary.ask('delete', 'kv/before')
  await primary.close()
  const next = await back(dr)
  expect(await dryRun(next, consent)).toMatchObject({
    ...{ safe: false, handed_over: false, lag_seconds: null },
    reasons: [expect.stringContaining('nothing was heard of the primary')],
  })
  const refused = await next.ask('update', promote, { dr_operation_token: consent }, anonymous)
  expect(refused.code).toBe('CORE_UNAVAILABLE')
  expect(refused.error).toMatch(/nothing was heard of the primary.*set force/)
  expect((await next.status('dr')).mode).toBe('secondary')
  expect(await next.change(promote, { dr_operation_token: consent, force: true })).toBe('changed')
  next.token = primary.token
  const { data } = await next.ask('read', 'sys/replication/dr/promotion-receipts')
  const [receipt] = data!.receipts as Record<string, unknown>[]
  expect(receipt).toMatchObject({
    ...{ forced: true, handed_over: false, last_heard_index: null, inherited: false },
    promoted_by: { token: 'dr operation token', accessor: '', remote_address: '127.0.0.1' },
    from: { epoch: expect.any(Number), index: expect.any(Number), digest: expect.stringMatching(/^[0-9a-f]{64}$/) },
  })
  await next.ask('update', 'kv/new', { by: 'the new one' })
  const old = await back(primary)
  expect((await old.ask('read', 'kv/lost')).data).toEqual({ n: 2 })
  return { old, next, receipt: receipt! }
}

async function rejoin(old: Node, next: Node): Promise<string> {
  expect(await old.change(demote)).toBe('changed')
  const consent = await generate(old, 'dr-operation')
  const token = await activationToken(next, 'dr', 'nyc')
  expect(await old.change(update, { dr_operation_token: consent, token })).toBe('changed')
  await inSync(next, old, 'dr')
  return consent
}

describe('unplanned', () => {
  test('what was lost is exactly what the returning old primary keeps, by record; it rejoins without a wipe', async () => {
    const { old, next, receipt } = await afterDisaster()
    expect((await next.ask('read', 'kv/before')).data).toEqual({ by: 'the old one' })
    for (const key of ['lost', 'also']) expect((await next.ask('read', `kv/${key}`)).data ?? null).toBeNull()
    expect((await next.ask('read', 'sys/leases/revocation-hold')).data).toMatchObject({
      ...{ held: true, since: expect.stringMatching(/Z$/), expired_leases_waiting: 0 },
      reason: expect.stringContaining('without a handover'),
    })
    expect(await next.status('dr')).toMatchObject({ lease_revocation_held: true })

    const consent = await rejoin(old, next)
    const found = await sets(old, consent)
    expect(found).toHaveLength(1)
    const { set, entries } = found[0]!
    const { index } = receipt.from as { index: number }
    expect(set).toMatchObject({ exact: true, complete: true, from_index: index + 1, to_index: index + 4, entries: 4 })
    expect(names(entries)).toEqual(['lost', 'lost', 'also', 'before'])
    expect(entries.map(({ operation }) => operation)).toEqual(['put', 'put', 'put', 'delete'])
    expect(entries.map((entry) => entry.index - index)).toEqual([1, 2, 3, 4])
    expect(new Set(entries.map(({ mount_path }) => mount_path))).toEqual(new Set(['kv/']))

    const path = `sys/replication/dr/secondary/unreplicated/${set.id}`
    const value = async (entry: Entry): Promise<unknown> => {
      const fields = { dr_operation_token: consent, index: entry.index, key: entry.key }
      const { data } = await old.ask('update', `${path}/entry`, fields, anonymous)
      return data && JSON.parse(Buffer.from(data.value as string, 'base64').toString())
    }
    expect(await value(entries[0]!)).toEqual({ n: 1 })
    expect(await value(entries[1]!)).toEqual({ n: 2 })
    expect(await value(entries[3]!)).toBeNull()
    const asked = { dr_operation_token: 'hvr.wrong', index: entries[0]!.index, key: entries[0]!.key }
    expect(await old.ask('update', `${path}/entry`, asked, anonymous)).toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
    const root = { dr_operation_token: consent, index: 1, key: 'core/keyring' }
    expect(await old.ask('update', `${path}/entry`, root, anonymous)).toMatchObject({ code: 'CORE_INVALID_REQUEST' })

    expect(await old.store.list('')).not.toContain('g1/')
    expect((await old.status('dr')).merkle_root).toBe((await next.status('dr')).merkle_root)
    // It leads no longer, so revocation goes on.
    await waitFor('the hold to end', async () => (await next.status('dr')).lease_revocation_held === false)

    // A cluster that serves clients shows the sets too: to sudo.
    expect(await next.change(demote)).toBe('changed')
    expect(await old.change(promote, { dr_operation_token: consent })).toBe('changed')
    const listed = await old.ask('list', 'sys/replication/dr/unreplicated')
    expect(listed.data).toMatchObject({ keys: [set.id] })
    await old.ask('update', 'sys/policies/acl/all', {
      policy: 'path "*" { capabilities = ["read", "list", "delete"] }',
    })
    const made = await old.ask('update', 'auth/token/create', { policies: ['all'] })
    const plain = { token: made.auth!.client_token }
    const entry = { index: entries[0]!.index, key: entries[0]!.key }
    const served = `sys/replication/dr/unreplicated/${set.id}`
    expect(await old.ask('read', `${served}/entry`, entry, plain)).toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
    expect(await old.ask('delete', served, {}, plain)).toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
    expect((await old.ask('read', `${served}/entry`, entry)).data).toMatchObject(entry)
    expect(await old.ask('delete', served)).toMatchObject({ status: 204 })
    expect((await old.ask('read', 'sys/replication/dr/unreplicated')).data).toMatchObject({ keys: [] })
    expect((await old.ask('read', served)).data ?? null).toBeNull()
    // It has inherited the receipt of the promotion it followed, beside its own.
    const { data } = await old.ask('read', 'sys/replication/dr/promotion-receipts')
    expect(data!.receipts).toMatchObject([
      { inherited: false, handed_over: true },
      { inherited: true, forced: true },
    ])
  })

  test('when the log does not reach back, what the first comparison replaces is kept', async () => {
    const { old, next } = await afterDisaster({ logBytes: 1 })
    await old.ask('update', 'kv/new', { by: 'the old one' })
    const consent = await rejoin(old, next)
    const found = await sets(old, consent)
    expect(found).toHaveLength(1)
    const { set, entries } = found[0]!
    expect(set).toMatchObject({ exact: false, complete: true, from_index: 0 })
    const kv = entries.filter(({ mount_path, key }) => mount_path === 'kv/' || key.startsWith('logical/'))
    expect(new Map(kv.map(({ key, operation }) => [key.slice(key.lastIndexOf('/') + 1), operation]))).toEqual(
      new Map([
        ['lost', 'deleted'],
        ['also', 'deleted'],
        ['new', 'replaced'],
      ]),
    )
    const { key, index } = kv.find((entry) => entry.key.endsWith('/new'))!
    const path = `sys/replication/dr/secondary/unreplicated/${set.id}/entry`
    const { data } = await old.ask('update', path, { dr_operation_token: consent, index, key }, anonymous)
    expect(JSON.parse(Buffer.from(data!.value as string, 'base64').toString())).toEqual({ by: 'the old one' })
    expect((await next.ask('read', 'kv/new')).data).toEqual({ by: 'the new one' })
  })

  test('a rotation of keys that nobody else got does not make the writes under it unreadable', async () => {
    const { primary, dr, consent } = await pair()
    await dr.close()
    await primary.ask('update', 'sys/rotate')
    await primary.ask('update', 'kv/rotated', { term: 2 })
    await primary.close()
    const next = await back(dr)
    expect(await next.change(promote, { dr_operation_token: consent, force: true })).toBe('changed')
    next.token = primary.token
    const old = await back(primary)
    const own = await rejoin(old, next)
    const [{ set, entries }] = (await sets(old, own)) as [{ set: Record<string, unknown>; entries: Entry[] }]
    const { key, index } = entries.find((entry) => entry.key.endsWith('/rotated'))!
    const path = `sys/replication/dr/secondary/unreplicated/${set.id}/entry`
    const { data } = await old.ask('update', path, { dr_operation_token: own, index, key }, anonymous)
    expect(JSON.parse(Buffer.from(data!.value as string, 'base64').toString())).toEqual({ term: 2 })
    // What the cluster keeps of its own was sealed under the lost key too.
    const again = await back(old)
    await inSync(next, again, 'dr')
  })

  test('performance: the shared writes of the old primary are kept, not what is local to it', async () => {
    const primary = await started()
    await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
    await primary.ask('update', 'sys/mounts/here', { type: 'kv', local: true })
    await primary.change('sys/replication/performance/primary/enable')
    const secondary = await started()
    await link(primary, secondary, 'performance', 'us')
    await inSync(primary, secondary, 'performance')
    secondary.token = await generate(secondary, 'root')
    const { token } = secondary
    await secondary.close()
    await primary.ask('update', 'kv/lost', { n: 1 })
    await primary.ask('update', 'here/mine', { n: 2 })
    await primary.close()
    const next = await back(secondary)
    next.token = token
    const promotion = 'sys/replication/performance/secondary/promote'
    expect(await next.change(promotion, { force: true })).toBe('changed')
    // Only for DR: what a performance secondary leased are its own leases.
    expect((await next.ask('read', 'sys/leases/revocation-hold')).data).toMatchObject({ held: false })
    const old = await back(primary)
    await old.change('sys/replication/performance/primary/demote')
    // Local writes go on while it is demoted, and do not cost it the log.
    expect(await old.ask('update', 'here/mine', { n: 3 })).toMatchObject({ status: 204 })
    const activation = await activationToken(next, 'performance', 'nyc')
    const path = 'sys/replication/performance/secondary/update-primary'
    expect(await old.change(path, { token: activation })).toBe('changed')
    await inSync(next, old, 'performance')
    const { data } = await old.ask('read', 'sys/replication/performance/unreplicated')
    expect(data!.sets).toMatchObject([{ exact: true, entries: 1 }])
    const [id] = data!.keys as string[]
    const page = await old.ask('read', `sys/replication/performance/unreplicated/${id}`)
    expect(names(page.data!.keys as Entry[])).toEqual(['lost'])
    expect((await old.ask('read', 'here/mine')).data).toEqual({ n: 3 })
    expect((await old.ask('read', 'kv/lost')).data ?? null).toBeNull()
  })
})

test('an old primary that is told of the later epoch says so, and takes no new secondaries', async () => {
  const primary = await started()
  await primary.change('sys/replication/performance/primary/enable')
  await primary.change('sys/replication/dr/primary/enable')
  const dr = await started()
  await link(primary, dr, 'dr', 'dr')
  const us = await started()
  await link(primary, us, 'performance', 'us')
  await inSync(primary, dr, 'dr')
  await inSync(primary, us, 'performance')
  const consent = await generate(dr, 'dr-operation')
  await primary.close()
  expect(await dr.change(promote, { dr_operation_token: consent, force: true })).toBe('changed')
  dr.token = primary.token
  us.token = await generate(us, 'root')
  const path = 'sys/replication/performance/secondary/update-primary'
  const follow = async (node: Node): Promise<void> => {
    const update_primary_addrs = String((await node.core.leader()).leader_cluster_address)
    expect(await us.change(path, { update_primary_addrs })).toBe('changed')
  }
  // Its credentials are as good at the promoted cluster.
  await follow(dr)
  await inSync(dr, us, 'performance')

  const old = await back(primary)
  await follow(old)
  const { fenced_by_epoch: epoch } = await waitFor('the word of it', async () => {
    const status = await old.status('performance')
    return status.fenced_by_epoch !== undefined && status
  })
  expect(epoch).toBe(2)
  expect(await old.status('performance')).toMatchObject({ fenced_by: 'us', fenced_since: expect.stringMatching(/Z$/) })
  expect(old.logged.filter((line) => line.startsWith('error: another cluster was promoted'))).toHaveLength(1)
  const token = 'sys/replication/performance/primary/secondary-token'
  expect(await old.ask('update', token, { id: 'asia' })).toMatchObject({
    code: 'CORE_UNAVAILABLE',
    error: expect.stringContaining('this primary is stale'),
  })
  // It lets the secondary in each time, and does not keep it from the one that leads.
  const leaders = await Promise.all([old, dr].map((node) => node.core.leader()))
  const addresses = leaders.map((leader) => leader.leader_cluster_address).join(',')
  expect(await us.change(path, { update_primary_addrs: addresses })).toBe('changed')
  await inSync(dr, us, 'performance')
  // Also when nobody tells it again.
  await us.close()
  const again = await back(old)
  expect(await again.status('performance')).toMatchObject({ fenced_by_epoch: 2, fenced_by: 'us' })
  // The word of a secondary that is trusted no more does not count.
  await again.ask('update', 'sys/replication/performance/primary/revoke-secondary', { id: 'us' })
  expect((await again.status('performance')).fenced_by_epoch).toBeUndefined()
  expect((await again.ask('update', token, { id: 'asia' })).wrapToken).toBeDefined()
})

test('two promoted from one epoch: a secondary with both addresses stays with the one it followed', async () => {
  const primary = await started()
  await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await primary.change('sys/replication/performance/primary/enable')
  await primary.change('sys/replication/dr/primary/enable')
  const [one, other, us] = [await started(), await started(), await started()]
  await link(primary, one, 'dr', 'one')
  await link(primary, other, 'dr', 'other')
  await link(primary, us, 'performance', 'us')
  for (const node of [one, other]) await inSync(primary, node, 'dr')
  await inSync(primary, us, 'performance')
  us.token = await generate(us, 'root')
  const consents = await Promise.all([one, other].map((node) => generate(node, 'dr-operation')))
  await primary.close()
  for (const [at, node] of [one, other].entries()) {
    expect(await node.change(promote, { dr_operation_token: consents[at]!, force: true })).toBe('changed')
    node.token = primary.token
    await node.ask('update', 'kv/led', { by: at })
  }
  const path = 'sys/replication/performance/secondary/update-primary'
  const address = async (node: Node): Promise<string> => String((await node.core.leader()).leader_cluster_address)
  const follow = async (addresses: string): Promise<void> => {
    expect(await us.change(path, { update_primary_addrs: addresses })).toBe('changed')
  }
  const [first, second] = [await address(one), await address(other)]
  await follow(`${first},${second}`)
  await inSync(one, us, 'performance')
  expect((await us.ask('read', 'kv/led')).data).toEqual({ by: 0 })

  await one.close()
  await waitFor('the other to be refused', async () =>
    String((await us.status('performance')).last_error).includes('two were promoted from one epoch'),
  )
  expect((await us.ask('read', 'kv/led')).data).toEqual({ by: 0 })
  const again = await back(one)
  await follow(`${await address(again)},${second}`)
  await inSync(again, us, 'performance')
  // An operator may change its mind.
  await follow(second)
  await inSync(other, us, 'performance')
  expect((await us.ask('read', 'kv/led')).data).toEqual({ by: 1 })
})

test('a new secondary shows that it is bootstrapping until its first sync is over, also after a restart', async () => {
  const primary = await started()
  await primary.change('sys/replication/dr/primary/enable')
  const dr = await started()
  const token = await activationToken(primary, 'dr', 'dr')
  const enabled = await dr.ask('update', 'sys/replication/dr/secondary/enable', { token })
  // It has handed out its keys, and nothing else yet.
  await primary.close()
  expect(enabled).toMatchObject({ status: 200 })
  await waitFor('the role', async () => dr.logged.some((line) => line.includes('role has changed')))
  dr.keys = primary.keys
  const again = await back(dr)
  expect(await again.status('dr')).toMatchObject({ mode: 'bootstrapping' })
  expect((await again.core.health()).body).toMatchObject({ replication_dr_mode: 'bootstrapping' })
  expect((await again.core.health()).state).toBe('dr-secondary')
  const consent = await generate(again, 'dr-operation')
  expect(await dryRun(again, consent)).toMatchObject({
    ...{ safe: false, last_applied_index: null },
    reasons: expect.arrayContaining(['its sync with the primary is not complete']),
  })
})

test('disabled on either end: the secondary stands alone with its data, the primary cuts its secondaries off', async () => {
  const primary = await started()
  await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await primary.ask('update', 'kv/a', { n: 1 })
  await primary.change('sys/replication/performance/primary/enable')
  const [us, eu] = [await started(), await started()]
  for (const [id, node] of Object.entries({ us, eu })) {
    await link(primary, node, 'performance', id)
    await inSync(primary, node, 'performance')
    node.token = await generate(node, 'root')
  }
  expect(await us.change('sys/replication/performance/secondary/disable')).toBe('changed')
  expect(await us.status('performance')).toEqual({ mode: 'disabled' })
  expect((await us.ask('read', 'kv/a')).data).toEqual({ n: 1 })
  expect(await us.ask('update', 'kv/b', { of: 'its own' })).toMatchObject({ status: 204 })
  expect((await primary.ask('read', 'kv/b')).data ?? null).toBeNull()

  const { cluster_id: before } = await primary.status('performance')
  expect(await primary.change('sys/replication/performance/primary/disable')).toBe('changed')
  await waitFor('the link to end', async () => (await eu.status('performance')).connection_state !== 'ready')
  expect((await eu.ask('read', 'kv/a')).data).toEqual({ n: 1 })
  // Enabled again it is another set: its secondaries are activated anew.
  await primary.change('sys/replication/performance/primary/enable')
  const { cluster_id: after, known_secondaries } = await primary.status('performance')
  expect(after).not.toBe(before)
  expect(known_secondaries).toEqual([])
  const token = await activationToken(primary, 'performance', 'eu')
  const update = 'sys/replication/performance/secondary/update-primary'
  await expect(eu.change(update, { token })).rejects.toThrow('another replication set')
})
