/**
 * A secondary that stands still (SIGSTOP: the connection stays, nobody reads) while a few hot keys are written all the time and the log is
 * capped: what it costs the primary, and how the secondary comes back to streaming.
 *
 *   node bench/replication/stall.mjs [--minutes 10] [--rate 2000] [--keys 200] [--stock 20000] [--log-mib 16] [--every 15]
 *
 * Prints the curve on stderr as it goes, and one line of JSON on stdout.
 */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { whole } from '../table.mjs'
import { replicationSet, startProcess, untilInSync } from './cluster-process.mjs'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    rate: { type: 'string', default: '2000' },
    keys: { type: 'string', default: '200' },
    stock: { type: 'string', default: '20000' },
    'log-mib': { type: 'string', default: '16' },
    every: { type: 'string', default: '15' },
  },
})
const shape = { valueBytes: 250, mounts: 4 }
const rate = Number(values.rate)
const logBytes = Number(values['log-mib']) * 1024 * 1024
const every = Number(values.every) * 1000
const directory = await mkdtemp(join(tmpdir(), 'lockstep-stall-'))
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
let [primary, secondary] = []

const start = async (name) => {
  await mkdir(join(directory, name), { recursive: true })
  return startProcess({ name, directory: join(directory, name), options: { logBytes, tailBytes: 4 * 1024 * 1024 } })
}

/** Anonymous memory, MiB: what is mapped of files is the system's to take back. */
async function anonymous(pid) {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)[1]) / 1024
}

try {
  primary = await start('primary')
  secondary = await start('secondary')
  await primary.call('fill', { count: Number(values.stock), ...shape })
  const set = await replicationSet()
  const port = await primary.call('serve', set.primary)
  await secondary.call('follow', { port, ...(await set.secondary('one')) })
  await untilInSync(primary, secondary)
  await primary.call('startLoad', { rate, keys: Number(values.keys), ...shape })

  const curve = []
  const started = performance.now()
  const sample = async (phase, status) => {
    const log = await primary.call('log')
    const sender = await primary.call('senderStatus')
    const [behind] = log.consumers
    const row = {
      seconds: Math.round((performance.now() - started) / 1000),
      phase,
      primaryMiB: await anonymous(primary.pid),
      logBytes: log.bytes,
      bytesBehind: behind?.bytesBehind ?? 0,
      ageMs: behind?.ageMs ?? 0,
      cutOff: (behind?.index ?? 0) < log.oldest - 1,
      sender: sender.state,
      inFlight: sender.inFlightBytes,
      written: await primary.call('written'),
      secondary: status?.state,
    }
    curve.push(row)
    console.error(
      [
        `${String(row.seconds).padStart(4)} s`,
        phase.padEnd(9),
        `primary ${whole(row.primaryMiB)} MiB`,
        `log ${(row.logBytes / 1048576).toFixed(1)} MiB`,
        `behind ${(row.bytesBehind / 1048576).toFixed(1)} MiB, ${(row.ageMs / 1000).toFixed(1)} s${row.cutOff ? ', cut off' : ''}`,
        `link ${row.sender}, ${whole(row.inFlight / 1024)} KiB in flight`,
        `written ${whole(row.written)}`,
        row.secondary ?? '',
      ].join('  '),
    )
  }

  await sleep(Math.min(every, 5000))
  await sample('streaming', await secondary.call('status'))
  secondary.signal('SIGSTOP')
  const until = performance.now() + Number(values.minutes) * 60_000
  while (performance.now() < until) {
    await sleep(Math.min(every, until - performance.now()))
    await sample('stopped')
  }
  secondary.signal('SIGCONT')
  const continued = performance.now()
  const states = []
  let level = 0
  for (;;) {
    const status = await secondary.call('status')
    const name = `${status.state}${status.diffReason ? ` (${status.diffReason})` : ''}`
    if (states.at(-1)?.state !== name) {
      states.push({ seconds: (performance.now() - continued) / 1000, state: name })
      await sample('returning', status)
    }
    // Back when it streams and has nothing to catch up with for a second, while writes go on.
    level = status.state === 'stream-wals' && status.lagMs < 500 ? level + 1 : 0
    if (level >= 10) break
    if (performance.now() - continued > 120_000)
      throw new Error(`not back after two minutes: ${JSON.stringify(status)}`)
    await sleep(100)
  }
  const backSeconds = (performance.now() - continued) / 1000 - 1
  await sample('back', await secondary.call('status'))
  await primary.call('stopLoad')
  await untilInSync(primary, secondary)
  console.error(`streaming again ${backSeconds.toFixed(1)} s after it could run, writes going on; both ends equal`)
  console.log(JSON.stringify({ rate, logBytes, minutes: Number(values.minutes), backSeconds, states, curve }))
} finally {
  secondary?.signal('SIGCONT')
  await secondary?.stop()
  await primary?.stop()
  await rm(directory, { recursive: true, force: true })
}
