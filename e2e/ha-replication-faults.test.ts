// The network between two clusters, and a node that hangs: the link comes back by itself, resumes where it was, and nothing acknowledged is lost.
import {
  enablePrimary,
  type HaCluster,
  linkSecondary,
  type Trouble,
  type VaultClient,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { haScratch, untilWrites } from './ha-load.ts'
import { type Load, missingOn, startLoad } from './ledger.ts'
import { addOperator, login, scratch } from './scratch.ts'

/** How long each trouble lasts, seconds. */
const LASTS = Number(process.env.LOCKSTEP_HA_FAULT_SECONDS ?? 6)

const start = haScratch(scratch())
let primary: HaCluster
let secondary: HaCluster
let token: string
let load: Load

const shown = async () => {
  const { body } = await secondary.client.read('sys/replication/performance/status', { token: '' })
  return body.data
}

beforeAll(async () => {
  primary = await start('faulty-p', { storage: 'postgresql', nodes: 2, faults: true })
  secondary = await start('faulty-s', { storage: 'etcd', nodes: 2 })
  token = primary.client.token
  await addOperator(primary)
  await primary.client.write('sys/mounts/kv', { type: 'kv' })
  await enablePrimary(primary, 'performance')
  await linkSecondary(primary, secondary, 'performance', 'secondary')
  await waitUntilInSync(primary, secondary, 'performance')
  await login(secondary)
  await waitFor('both nodes to be known', async () => (await shown()).known_primary_cluster_addrs.length === 2)
})

let round = 0
beforeEach(() => {
  // At the active node itself: what fails here is the network between clusters.
  const to = primary.nodes.map(({ name, client }: { name: string; client: VaultClient }) => ({ name, client }))
  load = startLoad({ prefix: `kv/round-${round++}`, writers: 2, token, to })
  return async () => {
    await load.stop()
  }
})

function trouble(what: Trouble, direction?: 'forth' | 'back'): void {
  for (const { cluster } of primary.links) cluster.set(what, direction)
}

/** In seconds since `from` (ms). */
async function caughtUp(from: number): Promise<number> {
  await waitFor(
    'the secondary to catch up',
    async () => {
      const { last_wal } = (await primary.client.read('sys/replication/performance/status', { token: '' })).body.data
      const { state, lag_ms: lag, last_remote_wal: applied } = await shown()
      return state === 'stream-wals' && lag < 1000 && applied >= last_wal
    },
    { intervalMs: 20, timeoutMs: 60_000 },
  )
  return (Date.now() - from) / 1000
}

async function nothingLost(): Promise<void> {
  await untilWrites(load)
  await load.stop()
  await waitUntilInSync(primary, secondary, 'performance')
  expect(await missingOn(secondary, load.acknowledged, secondary.client.token)).toEqual([])
}

test.each<[string, Trouble, ('forth' | 'back') | undefined]>([
  ['500 ms delay and 30 % loss', { delayMs: 250, loss: 0.3 }, undefined],
  ['nothing gets through', { blackhole: true }, undefined],
  ['nothing gets to the primary', { blackhole: true }, 'forth'],
  ['nothing gets to the secondary', { blackhole: true }, 'back'],
])('%s', async (name, what, direction) => {
  await untilWrites(load)
  const before = (await shown()).merkle_diffs
  trouble(what, direction)
  const until = Date.now() + LASTS * 1000
  await waitFor('the trouble to last', () => Date.now() > until, { timeoutMs: LASTS * 2000 })
  const during = (await shown()).lag_ms
  trouble({})
  const seconds = await caughtUp(Date.now())
  const { merkle_diffs } = await shown()
  console.log(
    `${name} for ${LASTS} s: lag ${(during / 1000).toFixed(1)} s; under 1 s again ${seconds.toFixed(2)} s after its end`,
  )
  expect(merkle_diffs).toBe(before)
  await nothingLost()
})

test("the primary's active node hangs: the one that takes its place is found without waiting for the first to speak", async () => {
  await untilWrites(load)
  const { merkle_diffs, resumed_links } = await shown()
  const hanging = await primary.active()
  hanging.pause()
  try {
    const [next] = primary.nodes.filter((node) => node !== hanging)
    const since = await waitFor(
      'another active node',
      async () => {
        const { body } = await next!.client.read('sys/leader', { token: '' })
        return body.is_self && Date.parse(body.active_time)
      },
      { timeoutMs: 90_000 },
    )
    await waitFor('the link to it', async () => (await shown()).resumed_links > resumed_links, { intervalMs: 20 })
    const seconds = await caughtUp(since)
    console.log(`the active node hung: lag under 1 s ${seconds.toFixed(2)} s after the next one led`)
    expect((await shown()).merkle_diffs).toBe(merkle_diffs)
    expect((await shown()).last_primary_failover).not.toBe('')
  } finally {
    hanging.resume()
  }
  await waitFor('the one that hung to stand by', async () => (await hanging.state()) === 'standby')
  await nothingLost()
})
