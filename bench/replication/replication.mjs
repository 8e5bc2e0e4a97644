/** Performance replication between two processes: initial sync, write rates, lag, catch-up. */
import { linkSecondary, waitUntilInSync } from '@lockstep/dev-env'
import { request } from '../load/load.mjs'
import { cpuSeconds, memory } from '../process-cost.mjs'
import { milliseconds, table, whole } from '../table.mjs'
import { enablePrimary, loginToSecondary, startPair } from './clusters.mjs'
import { lag, percentile } from './read-lag.mjs'

const MISSED_WRITES = 20_000
/** Writes per second beside which the lag is measured a first time, well below what the machine can do. */
const CALM_RATE = 500
const PATIENCE = { timeoutMs: 600_000 }

export async function replicationBench(directory, load, options) {
  const pair = await startPair(directory, options)
  try {
    return await measured(pair, load, options)
  } finally {
    await Promise.all([pair.primary.stop(), pair.secondary.stop()])
  }
}

async function measured({ primary, secondary }, load, { connections, seconds, keys }) {
  const port = Number(new URL(primary.address).port)
  const write = (folder, from, count) => {
    const body = { password: 'correct horse battery staple', note: 'x'.repeat(100), n: '@@@@@@@' }
    const text = request('PUT', `kv/${folder}/@@@@@@@`, { token: primary.client.token, body })
    return { port, connections, requests: { text, from, count } }
  }
  const rows = []
  const found = {}
  const report = (name, title, value, text) => {
    found[name] = value
    rows.push([title, text])
    process.stderr.write(`${title}: ${text}\n`)
  }
  const writeRate = async () => {
    await load.run({ ...write('rate', 0, 5000), seconds: 1 })
    const { requests, seconds: time } = await load.run({ ...write('rate', 0, 5000), seconds })
    return requests / time
  }
  const writesPerSecond = async (name, title) => {
    const rate = await writeRate()
    report(name, title, rate, `${whole(rate)} /s`)
  }

  await writesPerSecond('writesWithoutReplication', 'writes, replication off')
  const filled = await load.run({ ...write('initial', 0, keys), count: keys })
  report(
    'fill',
    `writing ${whole(keys)} keys`,
    filled.requests / filled.seconds,
    `${whole(filled.requests / filled.seconds)} /s`,
  )
  await enablePrimary(primary)
  await writesPerSecond('writesWithoutSecondary', 'writes, primary without a secondary')

  const cpuBefore = cpuSeconds(primary.process.pid) + cpuSeconds(secondary.process.pid)
  const started = performance.now()
  await linkSecondary(primary, secondary, 'performance', 'bench')
  await waitUntilInSync(primary, secondary, 'performance', PATIENCE)
  const syncSeconds = (performance.now() - started) / 1000
  const cpu = cpuSeconds(primary.process.pid) + cpuSeconds(secondary.process.pid) - cpuBefore
  report(
    'initialSync',
    `initial sync of ${whole(keys)} keys, with activation`,
    keys / syncSeconds,
    `${whole(keys / syncSeconds)} keys/s (${syncSeconds.toFixed(1)} s, CPU ${cpu.toFixed(1)} s)`,
  )
  for (const cluster of [primary, secondary]) {
    const { now, peak } = memory(cluster.process.pid)
    report(
      `memory.${cluster.name}`,
      `resident memory after it, ${cluster.name}`,
      { now, peak },
      `${whole(now)} MiB (at most ${whole(peak)})`,
    )
  }

  await loginToSecondary(primary, secondary)
  await writesPerSecond('writesWithSecondary', 'writes, with the secondary streaming')
  await waitUntilInSync(primary, secondary, 'performance', PATIENCE)
  for (const [name, title, rate] of [
    ['lagCalm', `lag beside ${CALM_RATE} writes/s`, CALM_RATE],
    ['lagFull', 'lag beside as many writes as go'],
  ]) {
    const loaded = load.run({ ...write('rate', 0, 5000), seconds: seconds + 1, rate })
    const samples = await lag(primary, secondary, seconds)
    await loaded
    const [p50, p99] = [percentile(samples, 0.5), percentile(samples, 0.99)]
    report(
      name,
      title,
      { p50, p99, samples: samples.length },
      `p50 ${milliseconds(p50)} ms, p99 ${milliseconds(p99)} ms`,
    )
  }

  await waitUntilInSync(primary, secondary, 'performance', PATIENCE)
  await secondary.stop()
  await load.run({ ...write('missed', 0, MISSED_WRITES), count: MISSED_WRITES })
  await secondary.start()
  const returned = performance.now()
  await waitUntilInSync(primary, secondary, 'performance', PATIENCE)
  const catchUp = (performance.now() - returned) / 1000
  report(
    'catchUp',
    `catch-up after ${whole(MISSED_WRITES)} writes, from unsealing`,
    MISSED_WRITES / catchUp,
    `${whole(MISSED_WRITES / catchUp)} keys/s (${catchUp.toFixed(1)} s)`,
  )

  console.log(`\n${table(['replication', ''], rows)}`)
  return found
}
