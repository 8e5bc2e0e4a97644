// Replication between clusters of several nodes: after a failover on either side the stream goes on where it was, without a Merkle diff.
import { afterEach, describe, expect, test } from 'vitest'
import { KEYS_CHANGED } from '../../src/seal-life-cycle/poison-pill.ts'
import { activationToken, generate, inSync, type Kind, link, type Node, waitFor } from '../cluster.ts'
import { type HaCluster, type HaClusterOptions, type HaNode, haCluster, writer } from './ha-cluster.ts'

const clusters: HaCluster[] = []
afterEach(async () => {
  await Promise.all(clusters.splice(0).map((cluster) => cluster.close()))
})
const started = async (...args: Parameters<typeof haCluster>): Promise<HaCluster> => {
  const cluster = await haCluster(...args)
  clusters.push(cluster)
  return cluster
}

async function primaryOf(
  name: string,
  count: number,
  kinds: readonly Kind[],
  options: HaClusterOptions = {},
): Promise<HaCluster> {
  const cluster = await started(name, count, options)
  const active = await cluster.active()
  await active.ask('update', 'sys/mounts/kv', { type: 'kv' })
  for (let n = 0; n < 20; n++) await active.ask('update', `kv/before/${n}`, { n })
  for (const kind of kinds) await active.change(`sys/replication/${kind}/primary/enable`)
  return cluster
}

/** Its standbys seal themselves, as the keys are others now, and are unsealed with the primary's. */
async function linkCluster(primary: HaCluster, secondary: HaCluster, kind: Kind): Promise<void> {
  const [here, there] = [await primary.active(), await secondary.active()]
  const standbys = await secondary.standbys()
  await link(here, there, kind, secondary.name)
  for (const node of standbys) {
    await waitFor(`${node.name} to say why it seals`, async () =>
      node.logged.some((line) => line.includes(KEYS_CHANGED)),
    )
    await waitFor(`${node.name} to be sealed`, async () => (await node.core.sealStatus()).sealed === true)
    await node.unseal(here.keys)
    node.keys = here.keys
  }
  await inSync(here, there, kind)
}

const known = (status: Record<string, unknown>) => status.known_primary_cluster_addrs as string[]
const addressOf = async (node: Node): Promise<string> => String((await node.core.leader()).leader_cluster_address)

async function knowsEveryNode(primary: HaCluster, secondary: HaCluster, kind: Kind): Promise<void> {
  const leader = await addressOf(await primary.active())
  await waitFor(`${secondary.name} to know all nodes of ${primary.name}, and which leads`, async () => {
    const status = await (await secondary.active()).status(kind)
    return known(status).length >= primary.nodes.length && status.active_primary_cluster_addr === leader
  })
}

/** Streams from the primary's active node, with the same root as it. */
async function streams(primary: HaCluster, secondary: HaCluster, kind: Kind) {
  return waitFor(`${secondary.name} to stream from ${primary.name}`, async () => {
    const [here, there] = [await primary.active(), await secondary.active()]
    const [at, status] = [await here.status(kind), await there.status(kind)]
    return status.state === 'stream-wals' && at.merkle_root === status.merkle_root && status
  })
}

/** What the log alone brought: on the primary's side, of the node that leads now. */
async function sessionsOf(node: Node): Promise<{ streamed: number; diffs: number }> {
  const { samples } = await node.core.metrics()
  const value = (wanted: string) => samples.find(({ name }) => name === wanted)?.value ?? Number.NaN
  return {
    streamed: value('logshipper.streamWALs.guard_found'),
    diffs: value('logshipper.streamWALs.missing_guard'),
  }
}

const COMBINATIONS: readonly { name: string; kinds: readonly Kind[] }[] = [
  { name: 'performance', kinds: ['performance'] },
  { name: 'DR', kinds: ['dr'] },
  { name: 'both', kinds: ['performance', 'dr'] },
]

describe.each(COMBINATIONS)('$name', ({ kinds }) => {
  test('the lead changes on the primary, on the secondary and on both at once, while writes go on', async () => {
    const primary = await primaryOf('primary', 2, kinds)
    const secondaries = await Promise.all(kinds.map((kind) => started(kind, 2)))
    for (const [at, kind] of kinds.entries()) await linkCluster(primary, secondaries[at]!, kind)
    for (const [at, kind] of kinds.entries()) await knowsEveryNode(primary, secondaries[at]!, kind)
    const load = writer(primary, 'kv/during')
    await load.more(20)

    async function resumed(
      kind: Kind,
      secondary: HaCluster,
      before: { merkle_diffs: unknown; resumed_links: unknown },
    ) {
      await waitFor(`${secondary.name} to resume`, async () => {
        const status = await (await secondary.active()).status(kind)
        return status.state === 'stream-wals' && Number(status.resumed_links) > Number(before.resumed_links)
      })
      expect(await (await secondary.active()).status(kind)).toMatchObject({ merkle_diffs: before.merkle_diffs })
    }
    const counts = async (kind: Kind, secondary: HaCluster) => {
      const { merkle_diffs, resumed_links } = await (await secondary.active()).status(kind)
      return { merkle_diffs, resumed_links }
    }

    // The primary's, by two ways.
    for (const way of ['revoke', 'kill'] as const) {
      const before = await Promise.all(kinds.map((kind, at) => counts(kind, secondaries[at]!)))
      if (way === 'kill') await primary.add((await primary.active()).keys)
      for (const [at, kind] of kinds.entries()) await knowsEveryNode(primary, secondaries[at]!, kind)
      const next = await primary[way]()
      await load.more(20)
      for (const [at, kind] of kinds.entries()) await resumed(kind, secondaries[at]!, before[at]!)
      expect(await sessionsOf(next), way).toEqual({ streamed: kinds.length, diffs: 0 })
      for (const [at, kind] of kinds.entries()) {
        const status = await waitFor('the new leader to be told of', async () => {
          const shown = await (await secondaries[at]!.active()).status(kind)
          return shown.active_primary_cluster_addr === (await addressOf(next)) && shown
        })
        expect(status.last_primary_failover).toMatch(/Z$/)
        expect(status.primaries).toMatchObject([
          { cluster_address: status.active_primary_cluster_addr, connection_status: 'connected' },
        ])
      }
    }

    // The secondary's: a node that leads anew has counted nothing before.
    for (const [at, kind] of kinds.entries()) {
      await secondaries[at]!.revoke()
      await load.more(20)
      await resumed(kind, secondaries[at]!, { merkle_diffs: 0, resumed_links: 0 })
    }

    // Both.
    await Promise.all([primary.revoke(), ...secondaries.map((secondary) => secondary.revoke())])
    await load.more(20)
    for (const [at, kind] of kinds.entries()) {
      await resumed(kind, secondaries[at]!, { merkle_diffs: 0, resumed_links: 0 })
    }
    expect(await sessionsOf(await primary.active())).toMatchObject({ diffs: 0 })

    await load.stop()
    for (const [at, kind] of kinds.entries()) await streams(primary, secondaries[at]!, kind)
    const active = await primary.active()
    for (const key of load.acknowledged) expect((await active.ask('read', key)).data, key).not.toBeNull()
    if (kinds.includes('performance')) {
      const node = await secondaries[0]!.active()
      node.keys = active.keys
      node.token = await generate(node, 'root')
      for (const key of load.acknowledged) expect((await node.ask('read', key)).data, key).not.toBeNull()
    }
  })
})

test('a restarted secondary has the addresses stored, and finds a leader that the token did not name', async () => {
  const primary = await primaryOf('primary', 2, ['performance'])
  const secondary = await started('secondary', 1)
  await linkCluster(primary, secondary, 'performance')
  await knowsEveryNode(primary, secondary, 'performance')
  const [first] = [await primary.active()]
  const node = await secondary.active()
  await node.close()
  secondary.nodes.splice(0)
  const next = await primary.kill()
  await next.ask('update', 'kv/while-away', { n: 1 })
  const again = await secondary.add(first.keys)
  await waitFor('the link', async () => (await again.status('performance')).state === 'stream-wals')
  expect(await again.status('performance')).toMatchObject({ merkle_diffs: 0, resumed_links: 1 })
  await streams(primary, secondary, 'performance')
})

test('a token leads to the node that leads when it is used, whichever that is', async () => {
  const primary = await primaryOf('primary', 3, ['dr'])
  const issuer = await primary.active()
  const secondary = await started('secondary', 1)
  const [dr] = secondary.nodes as [HaNode]
  // Every node has heard of the others when the last one to be unsealed knows what it is.
  await waitFor('the nodes to have noted themselves', async () => {
    const { checks } = (await issuer.ask('read', 'sys/replication/diagnostics')).data as {
      checks: { check: string; detail: string }[]
    }
    return checks.some(({ check, detail }) => check === 'nodes' && detail.startsWith('3 nodes'))
  })
  const token = await activationToken(issuer, 'dr', 'dr')
  const next = await primary.revoke()
  const primary_api_addr = String((await next.core.leader()).leader_address)
  expect(await dr.change('sys/replication/dr/secondary/enable', { token, primary_api_addr })).toBe('changed')
  dr.keys = next.keys
  await streams(primary, secondary, 'dr')
  const told = await waitFor('what the primary tells', async () => {
    const status = await dr.status('dr')
    return status.active_primary_cluster_addr !== '' && status
  })
  expect(told.active_primary_cluster_addr).toBe(await addressOf(next))
  expect(told.primary_cluster_addr).not.toBe(await addressOf(next))
})

test('promotion, demotion and disabling: the other nodes follow without a restart', async () => {
  const primary = await primaryOf('primary', 2, ['dr'])
  const secondary = await started('secondary', 2)
  await linkCluster(primary, secondary, 'dr')
  const health = async (node: HaNode) => {
    const { state, body } = await node.core.health()
    return { state, dr: body.replication_dr_mode }
  }
  const [standby] = await secondary.standbys()
  expect(await health(standby!)).toEqual({ state: 'dr-secondary', dr: 'secondary' })

  await (await primary.active()).change('sys/replication/dr/primary/demote')
  const leader = await secondary.active()
  const consent = { dr_operation_token: await generate(leader, 'dr-operation', (await primary.active()).keys) }
  await leader.change('sys/replication/dr/secondary/promote', consent)
  expect(await health(standby!)).toEqual({ state: 'standby', dr: 'primary' })
  expect(await health((await primary.standbys())[0]!)).toEqual({ state: 'dr-secondary', dr: 'secondary' })

  // The former primary follows; both of its nodes can, and both of the new primary's can be followed.
  const token = await activationToken(Object.assign(leader, { token: (await primary.active()).token }), 'dr', 'back')
  const old = await primary.active()
  const fields = { token, dr_operation_token: await generate(old, 'dr-operation') }
  await old.change('sys/replication/dr/secondary/update-primary', fields)
  await streams(secondary, primary, 'dr')
  await knowsEveryNode(secondary, primary, 'dr')
  await primary.revoke()
  await streams(secondary, primary, 'dr')
  expect(await (await primary.active()).status('dr')).toMatchObject({ merkle_diffs: 0, resumed_links: 1 })
  await secondary.revoke()
  await waitFor('the second resume', async () => (await (await primary.active()).status('dr')).resumed_links === 2)
  await streams(secondary, primary, 'dr')
  expect(await (await primary.active()).status('dr')).toMatchObject({ merkle_diffs: 0 })

  const last = Object.assign(await secondary.active(), { token: leader.token })
  await last.change('sys/replication/dr/primary/disable')
  for (const node of secondary.nodes) expect((await health(node)).dr).toBe('disabled')
})

test('on a silent link lag grows, and nothing is compared when the primary is heard again', async () => {
  const primary = await primaryOf('primary', 2, ['dr'], { proxied: true })
  const secondary = await started('secondary', 1)
  await linkCluster(primary, secondary, 'dr')
  const [node] = secondary.nodes as [HaNode]
  const { proxy, ...active } = await primary.active()
  await waitFor('a heartbeat', async () => ((await node.status('dr')).active_primary_cluster_addr as string) !== '')
  proxy!.set({ blackhole: true })
  await active.ask('update', 'kv/unheard', { n: 1 })
  await waitFor('lag', async () => Number((await node.status('dr')).lag_ms) > 3000)
  proxy!.set({})
  await streams(primary, secondary, 'dr')
  expect(await node.status('dr')).toMatchObject({
    merkle_diffs: 1,
    lag_ms: expect.toSatisfy((ms: number) => ms < 3000),
  })
})

test('an active node that falls silent is left for the one that leads in its place, without waiting for it to speak', async () => {
  const primary = await primaryOf('primary', 2, ['performance'], { proxied: true })
  const secondary = await started('secondary', 1)
  await linkCluster(primary, secondary, 'performance')
  await knowsEveryNode(primary, secondary, 'performance')
  const old = await primary.active()
  // Neither a reset nor a word: its connections stay open.
  old.proxy!.set({ blackhole: true })
  const next = await primary.revoke()
  await next.ask('update', 'kv/by-the-next', { n: 1 })
  const status = await waitFor('the link to the next one', async () => {
    const shown = await (await secondary.active()).status('performance')
    return shown.active_primary_cluster_addr === `https://${next.proxy!.address}` && shown
  })
  expect(status).toMatchObject({ resumed_links: 1, merkle_diffs: 1 })
  await streams(primary, secondary, 'performance')
  expect((await secondary.active()).logged.join()).toContain(`another node of the primary leads`)
})

interface Check {
  kind: string
  check: string
  status: string
  cause: string
  subject: string
  detail: string
}

test('diagnostics: a standby at the other end is no fault, and when nobody leads it says so', async () => {
  const primary = await primaryOf('primary', 2, ['performance'])
  const secondary = await started('secondary', 1)
  await linkCluster(primary, secondary, 'performance')
  await knowsEveryNode(primary, secondary, 'performance')
  const [node] = secondary.nodes as [HaNode]
  node.keys = (await primary.active()).keys
  node.token = await generate(node, 'root')
  const checks = async (): Promise<Check[]> =>
    (await node.ask('read', 'sys/replication/diagnostics')).data!.checks as Check[]

  const [standby] = await primary.standbys()
  const { clusterEnd } = standby!
  expect(await checks()).toContainEqual(
    expect.objectContaining({
      ...{ check: 'address', status: 'ok', subject: `https://${clusterEnd}` },
      detail: 'it answers and does not lead: a standby, or sealed',
    }),
  )
  expect((await checks()).filter(({ kind, status }) => kind !== '' && status !== 'ok')).toEqual([])

  for (let n = 0; n < 2; n++) await (await primary.active()).ask('update', 'sys/seal').then(() => leaves(primary))
  const found = await waitFor('the finding', async () =>
    (await checks()).find(({ cause }) => cause === 'no_active_node'),
  )
  expect(found).toMatchObject({
    ...{ check: 'address', status: 'critical' },
    detail: 'no active node among 2 addresses: 2 answer and do not lead, 0 cannot be reached',
  })
  await waitFor('the error', async () =>
    String((await node.status('performance')).last_error).includes('no active node among 2 addresses'),
  )
  for (const sealed of primary.nodes) await sealed.unseal()
  await waitFor('the link', async () => (await node.status('performance')).state === 'stream-wals')
  expect(await node.status('performance')).toMatchObject({ merkle_diffs: 1 })
})

/** Until the node that was asked to seal has, and another leads if there is one. */
async function leaves(cluster: HaCluster): Promise<void> {
  await waitFor('the node to be sealed', async () => {
    const states = await Promise.all(cluster.nodes.map(async ({ core }) => (await core.health()).state))
    return states.includes('active') || states.every((state) => state === 'sealed')
  })
}
