/**
 * A filter withholds a mount of many keys: how long until the secondary has none of them, and streams on.
 *
 *   node bench/replication/purge.mjs [--keys 100000] [--others 50000]
 *
 * Prints a line on stderr and one line of JSON on stdout.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { whole } from '../table.mjs'
import { replicationSet, startProcess, untilInSync } from './cluster-process.mjs'

const { values } = parseArgs({
  options: { keys: { type: 'string', default: '100000' }, others: { type: 'string', default: '50000' } },
})
const keys = Number(values.keys)
const directory = await mkdtemp(join(tmpdir(), 'lockstep-purge-'))
let [primary, secondary] = []
const start = async (name) => {
  await mkdir(join(directory, name), { recursive: true })
  return startProcess({ name, directory: join(directory, name) })
}

try {
  primary = await start('primary')
  secondary = await start('secondary')
  await primary.call('fill', { count: keys, valueBytes: 250, mounts: 1 })
  // Keys of three more mounts; those of the first are there already.
  await primary.call('fill', { count: Math.ceil((Number(values.others) * 4) / 3), valueBytes: 250, mounts: 4 })
  const set = await replicationSet()
  const port = await primary.call('serve', set.primary)
  await secondary.call('follow', { port, ...(await set.secondary('one')) })
  await untilInSync(primary, secondary)

  const held = await secondary.call('countOf', 'kv0')
  const cpuBefore = secondary.cpuSeconds()
  const started = performance.now()
  await primary.call('filter', ['kv0/'])
  for (;;) {
    const { state } = await secondary.call('status')
    if (state === 'stream-wals' && (await secondary.call('countOf', 'kv0')) === 0) break
    if (performance.now() - started > 120_000) throw new Error(`not purged after two minutes: ${state}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const seconds = (performance.now() - started) / 1000
  const cpu = secondary.cpuSeconds() - cpuBefore
  const rest = await secondary.call('count')
  console.error(
    `purged ${whole(held)} keys in ${seconds.toFixed(2)} s (${whole(held / seconds)} keys/s, CPU ${cpu.toFixed(1)} s), ${whole(rest)} of other mounts stay`,
  )
  console.log(JSON.stringify({ keys: held, seconds, keysPerSecond: held / seconds, cpuSeconds: cpu, rest }))
} finally {
  await secondary?.stop()
  await primary?.stop()
  await rm(directory, { recursive: true, force: true })
}
