// Trouble on the network and in the storage, under load through all three nodes. What is checked comes from the history that the storage kept: never two nodes
// that accepted writes at the same time, and nothing acknowledged that is not there.
//
// The network is a proxy on each node's way to the storage and before each cluster port: it delays and swallows what TCP carries, and makes it as late as loss of segments
// makes it. The storage stalls in two ways: all of its processes are stopped; or, with root, its file system is frozen, so that it answers reads and
// no write or fsync returns.
import { setTimeout as delay } from 'node:timers/promises'
import {
  enablePrimary,
  type HaCluster,
  type HaNode,
  linkSecondary,
  startStorageServer,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FreezableDisk, freezableDisk } from './freezable-disk.ts'
import { readHistory, recordHistory, storedData, violations } from './ha-history.ts'
import { haScratch, loadThroughAll, STORAGES, untilWrites } from './ha-load.ts'
import { longestPause, missingOn, startLoad } from './ledger.ts'
import { addOperator, login, scratch } from './scratch.ts'

interface Fault {
  /** What it is called in `LOCKSTEP_HA_FAULTS`. */
  name: string
  title: string
  begin(cluster: HaCluster, active: HaNode): void | Promise<void>
  end?(cluster: HaCluster, active: HaNode): void
  /** Another node has to lead while it lasts. */
  takeover?: boolean
  /** The one that leads has to go on. */
  unnoticed?: boolean
}

const STALL_MS = 10_000
const HOLD_MS = 10_000
let disk: FreezableDisk | undefined

const linksOf = (cluster: HaCluster, node: HaNode) => cluster.links[cluster.nodes.indexOf(node)]!
const calm = (cluster: HaCluster): void => {
  for (const link of cluster.links) for (const proxy of [link.storage, link.cluster]) proxy.set({})
}

const faults: Fault[] = [
  {
    name: 'storage-partition',
    title: 'the leader is cut off from the storage',
    begin: (cluster, active) => linksOf(cluster, active).storage.set({ blackhole: true }),
    takeover: true,
  },
  {
    name: 'storage-deaf',
    title: 'the storage hears the leader, the leader does not hear the storage',
    begin: (cluster, active) => linksOf(cluster, active).storage.set({ blackhole: true }, 'back'),
    takeover: true,
  },
  {
    name: 'storage-mute',
    title: 'the leader hears the storage, the storage does not hear the leader',
    begin: (cluster, active) => linksOf(cluster, active).storage.set({ blackhole: true }, 'forth'),
    takeover: true,
  },
  {
    name: 'standby-partition',
    title: 'the leader is cut off from the standbys',
    begin: (cluster, active) => linksOf(cluster, active).cluster.set({ blackhole: true }),
    unnoticed: true,
  },
  {
    name: 'loss',
    title: '30 % loss on every way',
    begin: (cluster) => {
      for (const link of cluster.links) for (const proxy of [link.storage, link.cluster]) proxy.set({ loss: 0.3 })
    },
  },
  {
    name: 'delay',
    title: '500 ms delay on every way',
    begin: (cluster) => {
      for (const link of cluster.links)
        for (const proxy of [link.storage, link.cluster]) proxy.set({ delayMs: 500 }, 'forth')
    },
  },
  {
    name: 'storage-stopped',
    title: 'all processes of the storage stop for 10 s',
    async begin(cluster) {
      cluster.storage.pause()
      await delay(STALL_MS)
      cluster.storage.resume()
    },
  },
  {
    name: 'fsync',
    title: 'no write or fsync of the storage returns for 10 s',
    begin: () => disk!.stall(STALL_MS),
  },
]

/** In CI a short form: two partitions and a stall. */
const chosen = process.env.LOCKSTEP_HA_FAULTS ?? 'storage-partition,fsync,cluster-partition'
const isChosen = (name: string): boolean => chosen === 'all' || chosen.split(',').includes(name)
const ofOneCluster = faults.filter(({ name }) => isChosen(name))

const files = scratch()
const start = haScratch(files)

describe.each(ofOneCluster.length > 0 ? STORAGES : [])('three nodes over %s', (storage) => {
  let cluster: HaCluster

  beforeAll(async () => {
    if (isChosen('fsync')) {
      if (process.getuid?.() !== 0)
        throw new Error('LOCKSTEP_HA_FAULTS with fsync mounts a file system and so needs root')
      disk = await freezableDisk()
    }
    const server = await startStorageServer(storage, disk === undefined ? {} : { directory: disk.directory })
    cluster = await start(`faults-${storage}`, { storage: server, faults: true })
    await recordHistory(cluster)
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    await enablePrimary(cluster, 'performance')
  })
  // Runs before the others, which end the clusters and remove the files; a frozen or mounted disk would be in their way.
  afterAll(async () => {
    await cluster?.stop()
    await cluster?.storage.stop()
    await disk?.close()
    disk = undefined
  })

  test.each(ofOneCluster)('$title', { timeout: 300_000 }, async (fault) => {
    const old = await cluster.active()
    const load = await loadThroughAll(cluster, `kv/${fault.name}`)
    const beganAt = Date.now()
    let tookOverMs: number | undefined
    try {
      await fault.begin(cluster, old)
      if (fault.takeover) {
        await waitFor('another active node', () => another(cluster, old), { timeoutMs: 60_000 })
        tookOverMs = Date.now() - beganAt
        await untilWrites(load)
      }
      await delay(Math.max(0, beganAt + HOLD_MS - Date.now()))
    } finally {
      calm(cluster)
    }
    const healedAt = Date.now()
    // Those that the trouble kept from their standby's or leader's duties come back by themselves.
    await waitFor(
      'one active node and two standbys',
      async () => (await cluster.states()).sort().join() === 'active,standby,standby',
    )
    await untilWrites(load, 50)
    await load.stop()
    const endedAt = Date.now()

    const missing = await missingOn(cluster, load.acknowledged, cluster.client.token)
    const history = await readHistory(cluster)
    const stored = storedData(history)
    const during = longestPause(load.acknowledged, beganAt, healedAt)
    console.log(
      `${storage}: ${fault.title}: ${tookOverMs === undefined ? '' : `another node led after ${(tookOverMs / 1000).toFixed(2)} s, `}` +
        `longest outage ${during.toFixed(2)} s, ${longestPause(load.acknowledged, healedAt, endedAt).toFixed(2)} s afterwards; ` +
        `${load.acknowledged.length} acknowledged writes, ${missing.length} lost; ${history.length} changes in the stored history`,
    )
    expect(missing).toEqual([])
    expect(load.acknowledged.filter(({ key }) => !stored.has(key.slice('kv/'.length)))).toEqual([])
    expect(violations(history)).toEqual([])
    if (fault.unnoticed) expect((await cluster.active()).name).toBe(old.name)
  })
})

async function another(cluster: HaCluster, old: HaNode): Promise<boolean> {
  const states = await Promise.all(cluster.nodes.filter((node) => node !== old).map((node) => node.state()))
  return states.includes('active')
}

describe.runIf(isChosen('cluster-partition'))(
  'a primary cluster over PostgreSQL and a secondary cluster over etcd',
  () => {
    test('cut off from each other, each goes on by itself; joined again they agree', { timeout: 300_000 }, async () => {
      const primary = await start('upstream', { storage: STORAGES[0]!, faults: true, nodes: 2 })
      const secondary = await start('downstream', { storage: STORAGES.at(-1)!, nodes: 2 })
      await recordHistory(primary)
      await addOperator(primary)
      await primary.client.write('sys/mounts/kv', { type: 'kv' })
      await enablePrimary(primary, 'performance')
      await linkSecondary(primary, secondary, 'performance', 'second')
      await waitUntilInSync(primary, secondary, 'performance')
      await login(secondary)
      await secondary.client.write('sys/mounts/here', { type: 'kv', local: true })

      const load = startLoad({ prefix: 'kv/partition', writers: 4, token: primary.client.token, to: primary })
      const local = startLoad({ prefix: 'here/partition', writers: 4, token: secondary.client.token, to: secondary })
      await untilWrites(load)
      await untilWrites(local)
      const beganAt = Date.now()
      for (const link of primary.links) link.cluster.set({ blackhole: true })
      await delay(HOLD_MS)
      await untilWrites(load)
      await untilWrites(local)
      for (const link of primary.links) link.cluster.set({})
      const healedAt = Date.now()
      await untilWrites(load)
      await load.stop()
      await local.stop()
      await waitUntilInSync(primary, secondary, 'performance')
      const missing = [
        ...(await missingOn(secondary, load.acknowledged, secondary.client.token)),
        ...(await missingOn(secondary, local.acknowledged, secondary.client.token)),
      ]
      console.log(
        `clusters cut off from each other for ${((healedAt - beganAt) / 1000).toFixed(1)} s: longest pause of the primary's writers ` +
          `${longestPause(load.acknowledged, beganAt, healedAt).toFixed(2)} s, of the secondary's ${longestPause(local.acknowledged, beganAt, healedAt).toFixed(2)} s; ` +
          `same Merkle root ${((Date.now() - healedAt) / 1000).toFixed(2)} s after the cut; ${load.acknowledged.length + local.acknowledged.length} writes, ${missing.length} lost`,
      )
      expect(missing).toEqual([])
      expect(violations(await readHistory(primary))).toEqual([])
    })
  },
)
