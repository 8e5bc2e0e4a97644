/**
 * CPU time of the primary's main thread per write, in one process and without disk, TLS or sockets: what the log and each streaming
 * session add, frames included. Steady where the machine is busy with other things.
 *
 *   node bench/replication/stream-cost.mjs [--writes 200000] [--group 32] [--rounds 5]
 */
import { parseArgs } from 'node:util'
import { loggedStore, serveSecondary } from '@lockstep/replication-driver'
import { encodeFrame } from '@lockstep/replication-transport'
import { memoryEngine } from '@lockstep/storage'
import { table } from '../table.mjs'

const { values } = parseArgs({
  options: {
    writes: { type: 'string', default: '200000' },
    group: { type: 'string', default: '32' },
    rounds: { type: 'string', default: '5' },
  },
})
const writes = Number(values.writes)
const group = Number(values.group)
const KEYS = 5000
const classify = (key) => ({ class: 'replicated', mount: key.split('/')[0], mountPath: `${key.split('/')[0]}/` })

/** Stands for the socket and the secondary: takes frames and acknowledges them in a later turn. */
function sinkLink(frames) {
  let deliver
  const queue = []
  const receive = (message) => (deliver ? deliver({ done: false, value: message }) : queue.push(message))
  return {
    peer: 'sink',
    send(message) {
      let frame = frames.get(message)
      if (!frame) {
        frame = encodeFrame(message)
        frames.set(message, frame)
      }
      if (message.type === 'wal') setImmediate(receive, { type: 'ack', round: message.round, cursor: message.cursor })
    },
    writable: () => Promise.resolve(),
    messages: {
      [Symbol.asyncIterator]: () => ({
        next() {
          if (queue.length > 0) return Promise.resolve({ done: false, value: queue.shift() })
          return new Promise((resolve) => {
            deliver = (result) => {
              deliver = undefined
              resolve(result)
            }
          })
        },
      }),
    },
    close() {},
    closed: new Promise(() => {}),
    start: receive,
  }
}

async function cost({ keepLog, attached, shared }) {
  const store = await loggedStore(memoryEngine(), { classify, keepLog: () => keepLog, cacheBytes: 0 })
  const frames = shared ? new WeakMap() : undefined
  for (let i = 0; i < attached; i++) {
    const link = sinkLink(frames ?? new WeakMap())
    const view = { id: 'all', ships: () => true, mountPathOf: (mount) => `${mount}/` }
    const id = `s${i}`
    serveSecondary(
      { store, link, view },
      { kind: 'performance', clusterId: 'c', secondaryId: id, consumer: id, silenceMs: 1e9 },
    )
    const hello = { kind: 'performance', secondaryId: id, clusterId: '', epoch: 0, view: 'all' }
    link.start({ type: 'hello', protocol: { min: 1, max: 2 }, cursor: store.log.head(), ...hello })
  }
  const pattern = new Uint8Array(250).fill(7)
  let next = 0
  const run = async (count) => {
    for (let done = 0; done < count; done += group) {
      const puts = []
      for (let i = 0; i < group; i++) {
        const value = Uint8Array.from(pattern)
        new DataView(value.buffer).setFloat64(0, next)
        puts.push(store.put(`kv${next % 4}/data/${next % KEYS}`, value))
        next++
      }
      await Promise.all(puts)
    }
  }
  await run(20_000)
  const before = process.cpuUsage()
  await run(writes)
  const { user, system } = process.cpuUsage(before)
  await store.close()
  return (user + system) / writes
}

const cases = [
  ['log off', { keepLog: false, attached: 0 }],
  ['log kept', { keepLog: true, attached: 0 }],
  ['1 secondary', { keepLog: true, attached: 1, shared: true }],
  ['2 secondaries', { keepLog: true, attached: 2, shared: true }],
]
const samples = cases.map(() => [])
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [place, [, options]] of cases.entries()) samples[place].push(await cost(options))
}
const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]
const found = cases.map(([title], place) => ({ title, microseconds: median(samples[place]) }))
console.error(
  table(
    ['primary, main thread', 'CPU per write', 'to log kept'],
    found.map(({ title, microseconds }) => [
      title,
      `${microseconds.toFixed(1)} µs`,
      `${(microseconds - found[1].microseconds).toFixed(1)} µs`,
    ]),
  ),
)
console.log(JSON.stringify({ group, writes, found, samples }))
process.exit(0)
