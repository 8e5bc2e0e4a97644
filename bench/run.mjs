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
  const { contender, storages } = options
  const all = []
  if (contender !== 'openbao') {
    for (const storage of storages) {
      all.push(() => startLockstep(directory, storage === 'local' ? 'level' : storage, options))
    }
  }
  if (contender !== 'lockstep') {
    const peers = storages.flatMap((storage) => ({ local: 'raft', postgresql: 'postgresql' })[storage] ?? [])
    if (!existsSync(options.bao)) console.log(`no OpenBao at ${options.bao}: only lockstep is measured\n`)
    else for (const storage of peers) all.push(() => startOpenBao(directory, storage, options))
  }
  return all
}

/** Of several OpenBaos the one over the same storage is compared with; over etcd, which OpenBao does not have, the one over PostgreSQL. */
function peerOf(contender, results) {
  const wanted = { lockstep: 'openbao' }[contender] ?? 'openbao on postgresql'
  return contender.startsWith('lockstep') ? results.find((result) => result.contender === wanted) : undefined
}

function comparison(chosen) {
  const rows = []
  const withStorage = options.storages.some((storage) => storage !== 'local')
  for (const { name, title } of chosen) {
    const results = outcome.operations.filter(({ operation }) => operation === name)
    for (const result of results) {
      const peer = peerOf(result.contender, results)
      rows.push([
        `${title} (${result.contender})`,
        whole(result.requestsPerSecond),
        peer === undefined ? '' : ratioOf(result.requestsPerSecond, peer.requestsPerSecond),
        milliseconds(result.p50),
        milliseconds(result.p99),
        result.cpuPerThousand.toFixed(3),
        ...(withStorage ? [result.storageCpuPerThousand.toFixed(3)] : []),
        peer === undefined ? '' : ratioOf(cpuOf(peer), cpuOf(result)),
        whole(result.memory),
      ])
    }
  }
  const heads = ['operation', 'req/s', 'ratio', 'p50 ms', 'p99 ms', 'CPU s/1000']
  return table([...heads, ...(withStorage ? ['storage'] : []), 'ratio', 'MiB'], rows)
}

/** Of server and storage together. */
function cpuOf({ cpuPerThousand, storageCpuPerThousand }) {
  return cpuPerThousand + storageCpuPerThousand
}

function ratioOf(one, other) {
  return `${(one / other).toFixed(2)}x`
}
