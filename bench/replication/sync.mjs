/**
 * Initial sync of many keys between two processes over TLS, then resyncs by Merkle diff after changes the log no longer tells of.
 *
 *   node bench/replication/sync.mjs [--keys 1000000] [--value-bytes 250] [--mounts 4] [--skip-resync] [--keep DIRECTORY]
 *
 * Prints a table on stderr and one line of JSON on stdout.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { table, whole } from '../table.mjs'
import { replicationSet, startProcess, untilInSync } from './cluster-process.mjs'

const { values } = parseArgs({
  options: {
    keys: { type: 'string', default: '1000000' },
    'value-bytes': { type: 'string', default: '250' },
    mounts: { type: 'string', default: '4' },
    'skip-resync': { type: 'boolean', default: false },
    'node-args': { type: 'string', default: '' },
  },
})
const keys = Number(values.keys)
const shape = { valueBytes: Number(values['value-bytes']), mounts: Number(values.mounts) }
const directory = await mkdtemp(join(tmpdir(), 'lockstep-sync-'))
const nodeArgs = values['node-args'].split(' ').filter(Boolean)
const found = { keys, ...shape, node: process.version }
const rows = []
const report = (title, text) => {
  rows.push([title, text])
  process.stderr.write(`${title}: ${text}\n`)
}
const memory = ({ now, peak }) => `${whole(now)} MiB (at most ${whole(peak)})`

const start = async (name) => {
  await mkdir(join(directory, name), { recursive: true })
  return startProcess({ name, directory: join(directory, name), nodeArgs })
}
let [primary, secondary] = []
try {
  primary = await start('primary')
  const filled = performance.now()
  await primary.call('keepLog', false)
  await primary.call('fill', { count: keys, ...shape })
  await primary.call('keepLog', true)
  found.fillSeconds = (performance.now() - filled) / 1000
  report(`filling ${whole(keys)} keys`, `${found.fillSeconds.toFixed(1)} s`)
  await primary.stop()

  primary = await start('primary')
  found.openSeconds = await primary.call('openSeconds')
  report('opening the primary, forest from disk', `${found.openSeconds.toFixed(1)} s, ${memory(primary.memory())}`)
  secondary = await start('secondary')

  const set = await replicationSet()
  const port = await primary.call('serve', set.primary)
  const follow = { port, ...(await set.secondary('one')) }
  const cpuBefore = [primary.cpuSeconds(), secondary.cpuSeconds()]
  await secondary.call('follow', follow)
  const seconds = await untilInSync(primary, secondary)
  const cpu = [primary.cpuSeconds() - cpuBefore[0], secondary.cpuSeconds() - cpuBefore[1]]
  const traffic = await secondary.call('traffic')
  found.initial = {
    seconds,
    keysPerSecond: keys / seconds,
    cpuPrimary: cpu[0],
    cpuSecondary: cpu[1],
    bytes: traffic.bytes,
    memoryPrimary: primary.memory(),
    memorySecondary: secondary.memory(),
  }
  report(
    'initial sync',
    `${whole(keys / seconds)} keys/s (${seconds.toFixed(1)} s, CPU primary ${cpu[0].toFixed(1)} s, secondary ${cpu[1].toFixed(1)} s)`,
  )
  report('resident memory, primary', memory(primary.memory()))
  report('resident memory, secondary', memory(secondary.memory()))

  found.resyncs = []
  for (const [title, count, stride] of values['skip-resync']
    ? []
    : [
        ['10 scattered', 10, Math.floor(keys / 10) - 1],
        ['1,000 scattered', 1000, Math.floor(keys / 1000) - 1],
        ['10,000 scattered', 10_000, Math.floor(keys / 10_000) - 1],
        ['10,000 contiguous', 10_000, 1],
      ]) {
    await secondary.call('unfollow')
    await primary.call('change', { count, stride, total: keys, ...shape })
    await primary.call('forgetLog')
    await secondary.call('follow', follow)
    const seconds = await untilInSync(primary, secondary)
    const { bytes, roundTrips, sent } = await secondary.call('traffic')
    found.resyncs.push({ title, count, seconds, bytes, roundTrips, sent })
    report(
      `resync by diff, ${title}`,
      `${seconds.toFixed(2)} s, ${whole(bytes / 1000)} kB (${whole(bytes / count)} per key), ${roundTrips} round trips`,
    )
  }
  console.error(`\n${table(['replication', ''], rows)}`)
  console.log(JSON.stringify(found))
} finally {
  await secondary?.stop()
  await primary?.stop()
  await rm(directory, { recursive: true, force: true })
}
