/**
 * What secondaries cost a primary, through the whole server: durable KV v1 writes per second without replication, as a primary whose
 * secondaries are away, and with a performance and a DR secondary streaming; then their lag at half of that rate.
 *
 *   node bench/replication/attached.mjs [--seconds 5] [--rounds 3] [--connections 32]
 *
 * The primary has one CPU to itself; load generator and secondaries share another, and the secondaries keep their data in memory (tmpfs),
 * because on machines of their own they would share neither CPU nor disk. Rounds alternate. One line of JSON on stdout.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { linkSecondary, replicationStatus, startCluster, waitFor, waitUntilInSync } from '@lockstep/dev-env'
import { loadGenerator, request } from '../load/load.mjs'
import { cpuSeconds } from '../process-cost.mjs'
import { milliseconds, table, whole } from '../table.mjs'
import { percentile } from './read-lag.mjs'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '32' },
    'node-args': { type: 'string', default: '' },
  },
})
const seconds = Number(values.seconds)
const connections = Number(values.connections)
const PATIENCE = { timeoutMs: 600_000 }
const pin = (pid, cpu) => execFileSync('taskset', ['-a', '-p', '-c', String(cpu), String(pid)], { stdio: 'ignore' })
/**
 * While writes are counted, whoever shares a CPU with the load generator runs when that does not (SCHED_IDLE); lag is measured without. Merely
 * nicer, the two secondaries took so much of the generator's CPU that the primary had nothing to do for a tenth of the time.
 */
const standBack = (policy, pid) =>
  execFileSync('chrt', ['-a', `--${policy}`, '-p', '0', String(pid)], { stdio: 'ignore' })
const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]

const directory = await mkdtemp(join(tmpdir(), 'lockstep-attached-'))
const inMemory = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'lockstep-attached-'))
const load = loadGenerator()
const clusters = []
const start = async (name, parent, cpu, nodeArgs = []) => {
  const cluster = await startCluster({ directory: join(parent, name), name, nodeArgs, config: { log_level: 'warn' } })
  clusters.push(cluster)
  pin(cluster.process.pid, cpu)
  return cluster
}

try {
  pin(process.pid, 1)
  pin(load.pid, 1)
  const primary = await start('primary', directory, 0, values['node-args'].split(' ').filter(Boolean))
  const kinds = ['performance', 'dr']
  const secondaries = []
  for (const kind of kinds) secondaries.push(await start(kind, inMemory, 1))
  await primary.client.write('sys/mounts/kv', { type: 'kv', options: { version: '1' } })

  const write = (rate) => ({
    port: Number(new URL(primary.address).port),
    connections,
    seconds,
    ...(rate === undefined ? {} : { rate }),
    requests: {
      text: request('PUT', 'kv/rate/@@@@@@@', {
        token: primary.client.token,
        body: { password: 'correct horse battery staple', note: 'x'.repeat(100), n: '@@@@@@@' },
      }),
      from: 0,
      count: 5000,
    },
  })
  const cost = async () => {
    await load.run({ ...write(), seconds: 1 })
    const before = cpuSeconds(primary.process.pid)
    const { requests, seconds: time } = await load.run(write())
    const cpu = cpuSeconds(primary.process.pid) - before
    return { rate: requests / time, cpu: (cpu / requests) * 1e6, busy: cpu / time }
  }
  const away = async () => {
    for (const secondary of secondaries) await secondary.stop()
  }
  const here = async () => {
    for (const [at, secondary] of secondaries.entries()) {
      await secondary.start()
      pin(secondary.process.pid, 1)
      await waitUntilInSync(primary, secondary, kinds[at], PATIENCE)
      standBack('idle', secondary.process.pid)
    }
  }

  const measured = { off: [], away: [], here: [] }
  /** Of the secondaries at the end of each round they were counted in: who lags or compares has not cost what streaming costs. */
  const ends = []
  for (let round = 0; round < Number(values.rounds); round++) measured.off.push(await cost())
  for (const [at, kind] of kinds.entries()) {
    await primary.client.write(`sys/replication/${kind}/primary/enable`)
    await waitFor('the primary role', async () => (await replicationStatus(primary, kind))?.mode === 'primary')
    await linkSecondary(primary, secondaries[at], kind, `bench-${kind}`)
    await waitUntilInSync(primary, secondaries[at], kind, PATIENCE)
    standBack('idle', secondaries[at].process.pid)
  }
  for (let round = 0; round < Number(values.rounds); round++) {
    measured.here.push(await cost())
    for (const [at, secondary] of secondaries.entries()) {
      const { state, lag_ms } = await replicationStatus(secondary, kinds[at])
      ends.push({ kind: kinds[at], state, lag: lag_ms })
    }
    await away()
    measured.away.push(await cost())
    await here()
  }

  const middle = (of, figure) => median(of.map((round) => round[figure]))
  const figure = (of) => ({ rate: middle(of, 'rate'), cpu: middle(of, 'cpu'), busy: middle(of, 'busy') })
  const found = {
    off: figure(measured.off),
    away: figure(measured.away),
    here: figure(measured.here),
    rounds: measured,
    ends,
  }
  const rows = [
    ['replication off', found.off],
    ['primary, its two secondaries away', found.away],
    ['primary, two secondaries streaming', found.here],
  ].map(([title, { rate, cpu, busy }]) => [
    title,
    `${whole(rate)} /s`,
    `${((rate / found.away.rate - 1) * 100).toFixed(1)} %`,
    `${cpu.toFixed(1)} µs`,
    `${(busy * 100).toFixed(0)} %`,
  ])
  console.error(table(['writes', 'rate', 'to secondaries away', 'CPU per write', 'CPU busy'], rows))

  console.error(
    `secondaries at the end of each round: ${ends.map(({ state, lag }) => `${state} ${lag} ms`).join(', ')}`,
  )
  for (const secondary of secondaries) standBack('other', secondary.process.pid)
  const rate = found.here.rate / 2
  const loaded = load.run({ ...write(rate), seconds: seconds * 2 })
  // What the primary acknowledged until now must be there; the secondary says by itself how far it is.
  found.lag = { rate }
  const samples = [[], []]
  const until = performance.now() + seconds * 2000 - 500
  while (performance.now() < until) {
    for (const [at, secondary] of secondaries.entries()) {
      const status = await replicationStatus(secondary, kinds[at])
      if (status !== undefined) samples[at].push(status.lag_ms)
    }
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  await loaded
  for (const [at, kind] of kinds.entries()) {
    const sorted = samples[at].sort((a, b) => a - b)
    const [p50, p99, max] = [percentile(sorted, 0.5), percentile(sorted, 0.99), sorted.at(-1)]
    found.lag[kind] = { p50, p99, max, samples: sorted.length }
    const shown = [p50, p99, max].map(milliseconds)
    console.error(
      `lag at ${whole(rate)} writes/s, ${kind}: p50 ${shown[0]} ms, p99 ${shown[1]} ms, max ${shown[2]} ms (${sorted.length} samples)`,
    )
  }
  console.log(JSON.stringify(found))
} finally {
  load.stop()
  for (const cluster of clusters.reverse()) await cluster.stop().catch(() => {})
  for (const made of [directory, inMemory]) await rm(made, { recursive: true, force: true })
}
