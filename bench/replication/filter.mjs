/**
 * A paths filter switched on over a mount of many keys, through the whole server: how long until the secondary holds none of them, and what
 * the inspect endpoint proves before and after.
 *
 *   node bench/replication/filter.mjs [--keys 100000] [--others 20000] [--connections 32]
 *
 * Two server processes on disk. Prints the reports on stderr and one line of JSON on stdout.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { enablePrimary, linkSecondary, startCluster, waitUntilInSync } from '@lockstep/dev-env'
import { loadGenerator, request } from '../load/load.mjs'
import { whole } from '../table.mjs'

const { values } = parseArgs({
  options: {
    keys: { type: 'string', default: '100000' },
    others: { type: 'string', default: '20000' },
    connections: { type: 'string', default: '32' },
  },
})
const keys = Number(values.keys)
const connections = Number(values.connections)
const REPLICATION = 'sys/replication/performance'
const directory = await mkdtemp(join(tmpdir(), 'lockstep-filter-'))
const load = loadGenerator()
const clusters = []

async function start(name) {
  const cluster = await startCluster({ directory: join(directory, name), name, config: { log_level: 'warn' } })
  clusters.push(cluster)
  return cluster
}

async function fill(primary, mount, count) {
  await primary.client.write(`sys/mounts/${mount}`, { type: 'kv', options: { version: '1' } })
  await load.run({
    port: Number(new URL(primary.address).port),
    connections,
    count,
    requests: {
      text: request('PUT', `${mount}/@@@@@@@`, {
        token: primary.client.token,
        body: { password: 'correct horse battery staple', n: '@@@@@@@' },
      }),
      from: 0,
      count,
    },
  })
}

/** What the secondary `eu` holds of the two mounts, as the primary's inspect endpoint proves it. */
async function inspect(primary, title) {
  const started = performance.now()
  const { data } = (await primary.client.read(`${REPLICATION}/primary/inspect/eu`)).body
  const ms = performance.now() - started
  console.error(
    `${title}: proven ${data.proven}, settled ${data.settled}, unexpected ${data.unexpected.length} (asked for ${ms.toFixed(0)} ms)`,
  )
  const mounts = data.mounts.filter(({ path }) => path === 'big/' || path === 'other/')
  for (const { path, withheld, expected, held, equal } of mounts) {
    const of = (side) => `${whole(side.keys)} keys ${side.digest.slice(0, 12)}`
    console.error(
      `  ${path.padEnd(7)} ${withheld ? 'withheld' : 'shipped '}  expected ${of(expected)}  held ${of(held)}  equal ${equal}`,
    )
  }
  return { ms, proven: data.proven, unexpected: data.unexpected.length, mounts }
}

try {
  const primary = await start('primary')
  const secondary = await start('secondary')
  await fill(primary, 'big', keys)
  await fill(primary, 'other', Number(values.others))
  await enablePrimary(primary, 'performance')
  await linkSecondary(primary, secondary, 'performance', 'eu')
  await waitUntilInSync(primary, secondary, 'performance', { timeoutMs: 600_000 })

  const before = await inspect(primary, 'before')
  const started = performance.now()
  await primary.client.write(`${REPLICATION}/primary/paths-filter/eu`, { mode: 'deny', paths: ['big/'] })
  for (;;) {
    const { data } = (await primary.client.read(`${REPLICATION}/primary/inspect/eu`)).body
    const big = data.mounts.find(({ path }) => path === 'big/')
    if (data.proven && (big === undefined || big.held.keys === 0)) break
    if (performance.now() - started > 300_000)
      throw new Error(`not purged after five minutes: ${JSON.stringify(data).slice(0, 500)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const seconds = (performance.now() - started) / 1000
  console.error(`purged ${whole(keys)} keys in ${seconds.toFixed(2)} s, proven by the inspect report`)
  const after = await inspect(primary, 'after')
  console.log(JSON.stringify({ keys, seconds, before, after }))
} finally {
  load.stop()
  for (const cluster of clusters.reverse()) await cluster.stop().catch(() => {})
  await rm(directory, { recursive: true, force: true })
}
