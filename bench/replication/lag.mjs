/**
 * What replication costs the primary, and how far secondaries lag: writes per second with the log off, and as a primary with 0, 1 and 2
 * secondaries, then the lag at half of the rate with two. The primary has one CPU to itself, the secondaries and the rest another.
 *
 *   node bench/replication/lag.mjs [--seconds 4] [--rounds 3] [--rate 5000] [--keys 5000] [--value-bytes 250] [--concurrency 256] [--cpu 0 --other-cpu 1]
 *
 * Rounds alternate between the configurations, so that what else the machine does hits all of them. Prints a table on stderr and one
 * line of JSON on stdout.
 */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { milliseconds, table, whole } from '../table.mjs'
import { replicationSet, startProcess, untilInSync } from './cluster-process.mjs'
import { percentile } from './read-lag.mjs'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    rate: { type: 'string', default: '5000' },
    rounds: { type: 'string', default: '3' },
    keys: { type: 'string', default: '5000' },
    'value-bytes': { type: 'string', default: '250' },
    concurrency: { type: 'string', default: '256' },
    cpu: { type: 'string', default: '0' },
    'other-cpu': { type: 'string', default: '1' },
    'lag-seconds': { type: 'string', default: '10' },
    'node-args': { type: 'string', default: '' },
  },
})
const seconds = Number(values.seconds)
const shape = { keys: Number(values.keys), valueBytes: Number(values['value-bytes']), mounts: 4 }
const load = { ...shape, concurrency: Number(values.concurrency) }
const directory = await mkdtemp(join(tmpdir(), 'lockstep-lag-'))
// On machines of their own the secondaries would not share the primary's disk; here they sync to memory.
const secondaryDirectory = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'lockstep-lag-'))
const processes = []

const start = async (name, parent, cpu) => {
  await mkdir(join(parent, name), { recursive: true })
  const nodeArgs = values['node-args'].split(' ').filter(Boolean)
  const started = await startProcess({ name, directory: join(parent, name), cpu, nodeArgs })
  processes.push(started)
  return started
}
const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1]

try {
  const primary = await start('primary', directory, values.cpu)
  await primary.call('fill', { count: shape.keys, ...shape })
  const set = await replicationSet()
  const port = await primary.call('serve', set.primary)
  const secondaries = []
  for (const id of ['one', 'two']) {
    const secondary = await start(id, secondaryDirectory, values['other-cpu'])
    const follow = { port, ...(await set.secondary(id)) }
    let following = false
    secondaries.push({
      ...secondary,
      async follow(wanted) {
        if (wanted === following) return
        following = wanted
        await secondary.call(...(wanted ? ['follow', follow] : ['unfollow']))
        if (wanted) await untilInSync(primary, secondary)
      },
    })
  }

  const configurations = [
    ['log off', { keepLog: false, attached: 0 }],
    ['primary, no secondary', { keepLog: true, attached: 0 }],
    ['primary, 1 secondary', { keepLog: true, attached: 1 }],
    ['primary, 2 secondaries', { keepLog: true, attached: 2 }],
  ]
  const rates = configurations.map(() => [])
  const costs = configurations.map(() => [])
  await primary.call('write', { ...load, seconds: 2 })
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [place, [, { keepLog, attached }]] of configurations.entries()) {
      await primary.call('keepLog', keepLog)
      for (const [at, secondary] of secondaries.entries()) await secondary.follow(at < attached)
      await primary.call('write', { ...load, seconds: 0.5 })
      rates[place].push((await primary.call('write', { ...load, seconds })).rate)
      // At one rate for all: how much a write costs depends on how many go to the disk together.
      const before = primary.cpuSeconds()
      const { rate } = await primary.call('write', { ...load, rate: Number(values.rate), seconds })
      costs[place].push(((primary.cpuSeconds() - before) / (rate * seconds)) * 1e6)
    }
  }
  const found = { ...shape, node: process.version, configurations: [] }
  const rows = []
  const base = median(rates[0])
  for (const [place, [title]] of configurations.entries()) {
    const rate = median(rates[place])
    const cost = median(costs[place])
    found.configurations.push({ title, rate, rates: rates[place], cpuMicroseconds: cost })
    const change = (now, before) => `${((now / before - 1) * 100).toFixed(1)} %`
    rows.push([title, `${whole(rate)} /s`, change(rate, base), `${cost.toFixed(1)} µs`, change(cost, median(costs[0]))])
  }
  console.error(
    table(['writes', 'rate', 'to log off', `CPU per write at ${whole(Number(values.rate))}/s`, 'to log off'], rows),
  )

  for (const secondary of secondaries) await secondary.follow(true)
  const rate = median(rates[3]) / 2
  const before = processes.map((each) => each.cpuSeconds())
  const { samples } = await primary.call('write', {
    ...load,
    rate,
    seconds: Number(values['lag-seconds']),
    record: true,
  })
  const used = processes.map((each, at) => each.cpuSeconds() - before[at])
  const cpuOf = (at) => (used[at] / (rate * Number(values['lag-seconds']))) * 1e6
  found.lag = { rate, cpuMicroseconds: processes.map((_, at) => cpuOf(at)), secondaries: [] }
  for (const secondary of secondaries) {
    await untilInSync(primary, secondary)
    const applied = await secondary.call('samples')
    const lags = []
    let at = 0
    for (const [index, time] of samples) {
      while (at < applied.length && applied[at][0] < index) at++
      if (at < applied.length) lags.push(applied[at][1] - time)
    }
    lags.sort((a, b) => a - b)
    const [p50, p99, max] = [percentile(lags, 0.5), percentile(lags, 0.99), lags.at(-1)]
    found.lag.secondaries.push({ p50, p99, max, samples: lags.length })
    console.error(
      `lag at ${whole(rate)} writes/s: p50 ${milliseconds(p50)} ms, p99 ${milliseconds(p99)} ms, max ${milliseconds(max)} ms`,
    )
  }
  console.error(`CPU per write: ${processes.map(({ name }, at) => `${name} ${cpuOf(at).toFixed(1)} µs`).join(', ')}`)
  console.log(JSON.stringify(found))
} finally {
  for (const each of processes.reverse()) await each.stop()
  for (const made of [directory, secondaryDirectory]) await rm(made, { recursive: true, force: true })
}
