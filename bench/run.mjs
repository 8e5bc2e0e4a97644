/** The bench: see README.md. */
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generatorCapacity } from './capacity.mjs'
import { startLockstep } from './contenders/lockstep.mjs'
import { startOpenBao } from './contenders/openbao.mjs'
import { loadGenerator } from './load/load.mjs'
import { measure } from './measure.mjs'
import { operations, prepareContender } from './operations.mjs'
import { readOptions } from './options.mjs'
import { memory } from './process-cost.mjs'
import { replicationBench } from './replication/replication.mjs'
import { milliseconds, table, whole } from './table.mjs'

const options = readOptions(process.argv.slice(2))
const directory = await mkdtemp(join(tmpdir(), 'lockstep-bench-'))
const load = loadGenerator()
const outcome = { date: new Date().toISOString(), node: process.version, operations: [], memory: {}, replication: {} }
const running = []

try {
  if (options.wanted('generator')) {
    outcome.generator = await generatorCapacity(load, options)
    console.log(`load generator against a bare node:http server: ${whole(outcome.generator)} req/s\n`)
  }
  const chosen = operations.filter(({ name }) => options.wanted(name))
  if (chosen.length > 0) await compare(chosen)
  if (options.wanted('replication')) outcome.replication = await replicationBench(directory, load, options)
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(outcome, null, 2)}\n`)
} finally {
  for (const contender of running) await contender.stop()
  load.stop()
  await rm(directory, { recursive: true, force: true })
}

async function compare(chosen) {
  for (const start of starters()) running.push(await start())
  const contenders = []
  for (const contender of running) contenders.push(await prepareContender(contender))
  for (const operation of chosen) {
    process.stderr.write(`${operation.title} ...\r`)
    outcome.operations.push(...(await measure(operation, contenders, load, options)))
  }
  for (const { name, pid } of contenders) outcome.memory[name] = memory(pid)
  console.log(comparison(chosen))
  for (const [name, { now, peak }] of Object.entries(outcome.memory)) {
    console.log(`${name}: resident memory after the run ${whole(now)} MiB, at most ${whole(peak)} MiB`)
  }
  for (const contender of running.splice(0)) await contender.stop()
}

function starters() {
  const all = []
  if (options.contender !== 'openbao') all.push(() => startLockstep(directory, options))
  if (options.contender !== 'lockstep') {
    if (existsSync(options.bao)) all.push(() => startOpenBao(directory, options))
    else console.log(`no OpenBao at ${options.bao}: only lockstep is measured\n`)
  }
  return all
}

function comparison(chosen) {
  const rows = []
  for (const { name, title } of chosen) {
    const [mine, peer] = outcome.operations.filter(({ operation }) => operation === name)
    for (const result of [mine, peer]) {
      if (result === undefined) continue
      const ratio = peer === undefined || result !== mine ? '' : ratioOf(mine.requestsPerSecond, peer.requestsPerSecond)
      const cpuRatio = peer === undefined || result !== mine ? '' : ratioOf(peer.cpuPerThousand, mine.cpuPerThousand)
      rows.push([
        `${title} (${result.contender})`,
        whole(result.requestsPerSecond),
        ratio,
        milliseconds(result.p50),
        milliseconds(result.p99),
        result.cpuPerThousand.toFixed(3),
        cpuRatio,
        whole(result.memory),
      ])
    }
  }
  return table(['operation', 'req/s', 'ratio', 'p50 ms', 'p99 ms', 'CPU s/1000', 'ratio', 'MiB'], rows)
}

function ratioOf(one, other) {
  return `${(one / other).toFixed(2)}x`
}
