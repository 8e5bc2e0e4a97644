// Replication between clusters of several nodes, on any storage at either end: when the active node of either side is killed under load, the stream goes on where
// it was, by itself and without a Merkle diff, and nothing acknowledged is lost.
import {
  type Cluster,
  type ClusterAccess,
  enablePrimary,
  type HaCluster,
  type HaNode,
  linkSecondary,
  promoteSecondary,
  type ReplicationKind,
  type StorageKind,
  type StorageServer,
  startStorageServer,
  type VaultClient,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { afterAll, describe, expect, test } from 'vitest'
import { haScratch, untilWrites } from './ha-load.ts'
import { type Acknowledged, type Load, missingOn, startLoad, type Target } from './ledger.ts'
import { addOperator, login, scratch } from './scratch.ts'

type Engine = 'level' | StorageKind

/** `LOCKSTEP_HA_REPLICATION=etcd:level,level:etcd` runs other pairs of primary's and secondaries' storage; `all`: every one. */
const ENGINES: readonly Engine[] = ['level', 'postgresql', 'etcd']
const PAIRS = pairs(process.env.LOCKSTEP_HA_REPLICATION ?? 'postgresql:etcd,level:postgresql')
/** Times the active node of each side is killed. */
const KILLS = Number(process.env.LOCKSTEP_HA_REPLICATION_KILLS ?? 1)
const KINDS: readonly ReplicationKind[] = ['performance', 'dr']
/** The goal is 5 s; the machine of the tests may be busy with others. */
const LONGEST_CATCH_UP_MS = 30_000

const files = scratch()
const start = haScratch(files)
const servers = new Map<StorageKind, Promise<StorageServer>>()
afterAll(async () => {
  await Promise.all([...servers.values()].map(async (server) => (await server).stop()))
})

/** One end of a link: a cluster of several nodes, or of one whose process is started again. */
interface Side extends ClusterAccess {
  targets(): Target[]
  /** Kills the active node. Resolves once a node leads that did not before. */
  failOver(): Promise<Leader>
  leader(): Promise<Leader>
  /** Of the API of a node that does not lead; undefined when there is none. */
  standbyAddress(): Promise<string | undefined>
  /** Brings back what was killed. */
  heal(): Promise<void>
  stop(): Promise<void>
}

interface Leader {
  name: string
  client: VaultClient
  /** ms since the epoch. */
  activeSince: number
}

async function activeSince(client: VaultClient): Promise<number> {
  const { body } = await client.read('sys/leader', { token: '' })
  return body.is_self ? Date.parse(body.active_time) : Number.NaN
}

function severalNodes(cluster: HaCluster): Side {
  const killed: HaNode[] = []
  const leaderOf = async (node: HaNode): Promise<Leader> => ({
    ...{ name: node.name, client: node.client },
    activeSince: await activeSince(node.client),
  })
  return {
    name: cluster.name,
    client: cluster.client,
    get keys() {
      return cluster.keys
    },
    set keys(keys) {
      cluster.keys = keys
    },
    targets: () => cluster.nodes.map(({ name }, number) => ({ name, client: cluster.clientOf(number) })),
    async failOver() {
      const before = await cluster.active()
      killed.push(before)
      await before.kill()
      return leaderOf(await cluster.active())
    },
    leader: async () => leaderOf(await cluster.active()),
    async standbyAddress() {
      const active = await cluster.active()
      return cluster.nodes.find((node) => node !== active)?.address
    },
    async heal() {
      for (const node of killed.splice(0)) {
        await node.start()
        await waitFor(`${node.name} to stand by`, async () => (await node.state()) === 'standby')
      }
    },
    stop: () => cluster.stop(),
  }
}

function oneNode(cluster: Cluster): Side {
  const leader = async (): Promise<Leader> => ({
    ...{ name: cluster.name, client: cluster.client },
    activeSince: await activeSince(cluster.client),
  })
  return {
    name: cluster.name,
    client: cluster.client,
    get keys() {
      return cluster.keys
    },
    set keys(keys) {
      cluster.keys = keys
    },
    targets: () => [cluster],
    async failOver() {
      await cluster.stop('SIGKILL')
      await cluster.start()
      return leader()
    },
    leader,
    standbyAddress: async () => undefined,
    heal: async () => {},
    stop: () => cluster.stop('SIGKILL'),
  }
}

async function side(name: string, engine: Engine, nodes: number): Promise<Side> {
  if (engine === 'level') {
    const seal = { static: { current_key_id: name, current_key: '0a'.repeat(32) } }
    return oneNode(await files.cluster(name, { config: { seal } }))
  }
  const server = servers.get(engine) ?? startStorageServer(engine)
  servers.set(engine, server)
  return severalNodes(await start(name, { storage: await server, nodes }))
}

/** The status document of one node. */
async function shown(client: VaultClient, kind: ReplicationKind) {
  return (await client.read(`sys/replication/${kind}/status`, { token: '' })).body.data
}

interface Resumed {
  resumed_links: number
  merkle_diffs: number
}

const counted = async (client: VaultClient, kind: ReplicationKind): Promise<Resumed> => {
  const { resumed_links, merkle_diffs } = await shown(client, kind)
  return { resumed_links, merkle_diffs }
}

/** How long after `since` (ms) the secondary, on a link made after `before`, held what the primary had logged a moment ago; in seconds. */
async function caughtUp(
  primary: Side,
  secondary: Leader,
  kind: ReplicationKind,
  before: Resumed,
  since: number,
): Promise<number> {
  await waitFor(
    `${secondary.name} to catch up`,
    async () => {
      const { last_wal } = await shown(primary.client, kind)
      const status = await shown(secondary.client, kind)
      const streams = status.state === 'stream-wals' && status.resumed_links > before.resumed_links
      return streams && status.lag_ms < 1000 && status.last_remote_wal >= last_wal
    },
    { intervalMs: 20, timeoutMs: LONGEST_CATCH_UP_MS },
  )
  return (Date.now() - since) / 1000
}

async function comparisonsServed(primary: Leader, token: string): Promise<number> {
  const { body } = await primary.client.call('GET', 'sys/metrics?format=prometheus', undefined, { token })
  return Number(/^vault_logshipper_streamWALs_missing_guard(?:_total)? (\d+)/m.exec(body)?.[1])
}

describe.each(PAIRS)('from %s to %s', (upstream, downstream) => {
  const pair = `${upstream}-${downstream}`
  let primary: Side
  const secondaries = {} as Record<ReplicationKind, Side>
  let load: Load
  let token: string
  const figures: string[] = []

  test('both kinds of secondaries are set up', async () => {
    primary = await side(`p-${pair}`, upstream, 3)
    secondaries.performance = await side(`s-${pair}`, downstream, 2)
    secondaries.dr = await side(`d-${pair}`, downstream, 2)
    token = primary.client.token
    await addOperator(primary)
    await primary.client.write('sys/mounts/kv', { type: 'kv' })
    for (let n = 0; n < 50; n++) await primary.client.write(`kv/before/${n}`, { n })
    for (const kind of KINDS) {
      await enablePrimary(primary, kind)
      // One at the active node's API, one at a standby's, which passes it on.
      const standby = kind === 'dr' ? await primary.standbyAddress() : undefined
      const fields = standby === undefined ? {} : { primary_api_addr: standby }
      await linkSecondary(primary, secondaries[kind], kind, kind, fields)
      await waitUntilInSync(primary, secondaries[kind], kind)
    }
    const nodes = upstream === 'level' ? 1 : 3
    for (const kind of KINDS) {
      await waitFor(`${kind} to know every node of the primary`, async () => {
        const status = await shown(secondaries[kind].client, kind)
        return new Set(status.known_primary_cluster_addrs).size === nodes && status.active_primary_cluster_addr !== ''
      })
      // A cluster's own standbys take the primary's keys by themselves, through their auto seal.
      await secondaries[kind].heal()
    }
    await login(secondaries.performance)
    load = startLoad({ prefix: 'kv/during', writers: 4, token, to: primary.targets() })
    await untilWrites(load)
  })

  test(`the primary's active node is killed (${KILLS} times)`, async () => {
    for (let round = 0; round < KILLS; round++) {
      const leaders = { performance: await secondaries.performance.leader(), dr: await secondaries.dr.leader() }
      const before = {
        performance: await counted(leaders.performance.client, 'performance'),
        dr: await counted(leaders.dr.client, 'dr'),
      }
      const killedAt = Date.now()
      const next = await primary.failOver()
      const seconds = await Promise.all(
        KINDS.map((kind) => caughtUp(primary, leaders[kind], kind, before[kind], next.activeSince)),
      )
      await untilWrites(load)
      for (const kind of KINDS) {
        const { merkle_diffs } = await counted(leaders[kind].client, kind)
        expect(merkle_diffs, kind).toBe(before[kind].merkle_diffs)
      }
      expect(await comparisonsServed(next, token)).toBe(0)
      figures.push(
        `primary: another led after ${((next.activeSince - killedAt) / 1000).toFixed(2)} s; since then lag under 1 s after ` +
          KINDS.map((kind, at) => `${seconds[at]!.toFixed(2)} s (${kind})`).join(', '),
      )
      await primary.heal()
    }
  })

  test.each(KINDS)(`the active node of the %s secondary is killed (${KILLS} times)`, async (kind) => {
    for (let round = 0; round < KILLS; round++) {
      const next = await secondaries[kind].failOver()
      const seconds = await caughtUp(primary, next, kind, { resumed_links: 0, merkle_diffs: 0 }, next.activeSince)
      expect(await counted(next.client, kind)).toEqual({ resumed_links: 1, merkle_diffs: 0 })
      figures.push(`${kind} secondary: lag under 1 s ${seconds.toFixed(2)} s after the new active node`)
      await secondaries[kind].heal()
    }
  })

  test('the active nodes of all three are killed at once', async () => {
    const [next, ...leaders] = await Promise.all(
      [primary, ...KINDS.map((kind) => secondaries[kind])].map((it) => it.failOver()),
    )
    const since = Math.max(next!.activeSince, ...leaders.map((leader) => leader.activeSince))
    const none = { resumed_links: 0, merkle_diffs: 0 }
    const seconds = await Promise.all(KINDS.map((kind, at) => caughtUp(primary, leaders[at]!, kind, none, since)))
    for (const [at, kind] of KINDS.entries()) {
      expect((await counted(leaders[at]!.client, kind)).merkle_diffs, kind).toBe(0)
    }
    expect(await comparisonsServed(next!, token)).toBe(0)
    figures.push(`all at once: lag under 1 s ${Math.max(...seconds).toFixed(2)} s after the last new active node`)
    await Promise.all([primary, ...KINDS.map((kind) => secondaries[kind])].map((it) => it.heal()))
  })

  test('nothing acknowledged is lost, also by whom the primary is replaced with', async () => {
    await untilWrites(load)
    await load.stop()
    for (const kind of KINDS) await waitUntilInSync(primary, secondaries[kind], kind)
    const lost: Record<string, Acknowledged[]> = {
      primary: await missingOn(primary, load.acknowledged, token),
    }
    await login(secondaries.performance)
    lost.performance = await missingOn(secondaries.performance, load.acknowledged, secondaries.performance.client.token)
    await primary.stop()
    await promoteSecondary(secondaries.dr, 'dr', { force: true })
    lost.dr = await missingOn(secondaries.dr, load.acknowledged, token)
    console.log(
      `${upstream} to ${downstream}: ${load.acknowledged.length} acknowledged writes, ` +
        `${Object.values(lost).flat().length} lost; ${figures.join('; ')}`,
    )
    expect(lost).toEqual({ primary: [], performance: [], dr: [] })
  })
})

function pairs(text: string): [Engine, Engine][] {
  if (text === 'all') return ENGINES.flatMap((from) => ENGINES.map((to): [Engine, Engine] => [from, to]))
  return text.split(',').map((pair) => {
    const [from, to, ...rest] = pair.split(':') as Engine[]
    if (from === undefined || to === undefined || rest.length > 0 || ![from, to].every((it) => ENGINES.includes(it))) {
      throw new Error(
        `LOCKSTEP_HA_REPLICATION: ${JSON.stringify(pair)} is not <engine>:<engine> of ${ENGINES.join(', ')}`,
      )
    }
    return [from, to]
  })
}
