/**
 * What it takes to bring a secondary in line whose forest differs in some keys: the two pure sessions in one process, no network, no
 * disk. `node bench/reconciliation.mjs [--keys 1000000] [--value-bytes 200]`, after a build.
 *
 * Bytes are those of the frames on a link. "reconciliation" is everything but the fetched entries: roots, nodes, sketches and
 * the key ids asked for, in both directions. A round trip is: all that the secondary has to say, then all that the primary answers.
 * CPU seconds are of both ends together, on one thread, with the packing of frames and the hashing of what is stored. "longest step" is
 * the longest time that one message took at either end, on the clock.
 */
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import {
  keyIdOf,
  leafDigestOf,
  merkleForest,
  NO_POSITION,
  parseMessage,
  partitionId,
  primarySession,
  secondarySession,
} from '@lockstep/replication'
import { Packr } from 'msgpackr'
import { table } from './table.mjs'

const { values: options } = parseArgs({
  options: {
    keys: { type: 'string', default: '1000000' },
    'value-bytes': { type: 'string', default: '200' },
    runs: { type: 'string', default: '3' },
    /** Also: all values changed, and an empty secondary. */
    all: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
  },
})
const keyCount = Number(options.keys)
const valueBytes = Number(options['value-bytes'])
const partition = 'replicated/5f0c7c1e-8f6c-4c52-9d5a-0d8f0c6a1b2c'
const packr = new Packr({ useRecords: false, copyBuffers: true, moreTypes: false })
const report = () => ({ canary: 0, addresses: [], apiAddress: '' })

const keyOf = (n) => `logical/5f0c7c1e-8f6c-4c52-9d5a-0d8f0c6a1b2c/app-${n % 997}/${n}`
const nameOf = (id) => Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1')
/** Values of the primary that differ from the first one, by number. */
const changed = new Map()
const firstValue = Buffer.alloc(valueBytes, 7)
const numberOf = new Map()
const primaryForest = merkleForest()
let secondaryForest = merkleForest()
let head = { epoch: 1, index: 0, digest: new Uint8Array(32) }

for (let n = 0; n < keyCount; n++) {
  const key = keyOf(n)
  const id = keyIdOf(key)
  const digest = leafDigestOf(key, firstValue)
  numberOf.set(nameOf(id), n)
  primaryForest.set(partition, id, digest)
  secondaryForest.set(partition, id, digest)
}
primaryForest.composedRoot(() => true)
secondaryForest.composedRoot(() => true)

function change(numbers) {
  for (const n of numbers) {
    const value = randomBytes(valueBytes)
    changed.set(n, value)
    primaryForest.set(partition, keyIdOf(keyOf(n)), leafDigestOf(keyOf(n), value))
  }
  head = { ...head, index: head.index + 1, digest: randomBytes(32) }
}

function scattered(count) {
  const numbers = new Set()
  while (numbers.size < count) numbers.add(Math.floor(Math.random() * keyCount))
  return numbers
}

function reconcile(sketches) {
  const names = { kind: 'performance', secondaryId: 'two' }
  const view = { id: 'all', ships: () => true, mountPathOf: () => 'secret/' }
  const log = { head: () => head, oldest: () => head.index + 1 }
  const primary = primarySession({ ...names, clusterId: 'set', view, forest: primaryForest, log, report })
  const secondary = secondarySession({ ...names, forest: secondaryForest, accept: () => true, report }, NO_POSITION, {
    sketches,
  })
  const toPrimary = []
  const toSecondary = []
  const applied = []
  const types = {}
  let bytes = 0
  let entryBytes = 0
  let entries = 0
  let longest = 0
  let waves = 0

  const onWire = (message) => {
    const frame = packr.pack(message)
    types[message.type] = (types[message.type] ?? 0) + frame.length
    if (message.type === 'entries') entryBytes += frame.length
    else if (!['hello', 'welcome', 'wal', 'ack', 'synced'].includes(message.type)) bytes += frame.length
    return parseMessage(packr.unpack(frame))
  }
  const stepPrimary = (event) => {
    for (const effect of primary.step(event, 0)) {
      if (effect.type === 'send') toSecondary.push(onWire(effect.message))
      if (effect.type === 'read-entries') {
        const found = effect.keyIds.map((id) => {
          const n = numberOf.get(nameOf(id))
          return { key: keyOf(n), value: changed.get(n) ?? firstValue }
        })
        stepPrimary({ type: 'entries', id: effect.id, entries: found })
      }
    }
  }
  const stepSecondary = (event) => {
    for (const effect of secondary.step(event, 0)) {
      if (effect.type === 'send') toPrimary.push(onWire(effect.message))
      if (effect.type === 'close') throw new Error(effect.message)
      if (effect.type === 'apply') {
        for (const { partition: id, keyIds } of effect.deletions)
          for (const keyId of keyIds) secondaryForest.remove(id, keyId)
        for (const { partition: of, key, value } of effect.entries) {
          secondaryForest.set(partitionId(of), keyIdOf(key), leafDigestOf(key, value))
          entries++
        }
        applied.push({ type: 'applied', id: effect.id })
      }
    }
  }
  const timed = (run) => {
    const start = performance.now()
    run()
    longest = Math.max(longest, performance.now() - start)
    for (let event = applied.shift(); event; event = applied.shift()) stepSecondary(event)
  }

  const cpuBefore = process.cpuUsage()
  stepSecondary({ type: 'start' })
  while (secondary.status(0).state !== 'stream-wals') {
    waves++
    for (const message of toPrimary.splice(0)) timed(() => stepPrimary({ type: 'message', message }))
    for (const message of toSecondary.splice(0)) timed(() => stepSecondary({ type: 'message', message }))
  }
  const cpu = process.cpuUsage(cpuBefore)
  const seconds = (cpu.user + cpu.system) / 1e6
  const same =
    Buffer.compare(
      primaryForest.composedRoot(() => true),
      secondaryForest.composedRoot(() => true),
    ) === 0
  if (!same) throw new Error('the ends differ')
  if (process.env.DEBUG) console.log(types)
  // The hello is a round trip of its own.
  return { bytes, entryBytes, entries, waves: waves - 1, seconds, longest }
}

const number = (value) => Math.round(value).toLocaleString('en')
const rows = []
function measure(what, prepare, runs = Number(options.runs)) {
  if (!what.startsWith(options.only)) return
  for (const [how, sketches] of [
    ['trie', false],
    ['sketches', true],
  ]) {
    const results = []
    for (let run = 0; run < runs; run++) {
      prepare()
      results.push(reconcile(sketches))
    }
    const median = (name) => results.map((result) => result[name]).sort((a, b) => a - b)[results.length >> 1]
    rows.push([
      what,
      how,
      number(median('bytes')),
      number(median('entryBytes')),
      number(median('entries')),
      median('waves'),
      median('seconds').toFixed(3),
      median('longest').toFixed(1),
    ])
  }
}

// Once for the compiler.
change(scattered(1000))
reconcile(true)
change(scattered(1000))
reconcile(false)

measure('nothing differs', () => {})
for (const count of [1, 10, 100, 1000, 10_000, 100_000].filter((count) => count * 2 <= keyCount)) {
  measure(`${number(count)} changed`, () => change(scattered(count)))
}
measure('1,000 missing here', () => {
  for (const n of scattered(1000)) secondaryForest.remove(partition, keyIdOf(keyOf(n)))
})
measure('1,000 only here', () => {
  for (const n of scattered(1000)) secondaryForest.set(partition, keyIdOf(`gone ${n}`), randomBytes(32))
})
if (options.all) {
  measure('all changed', () => change(Array(keyCount).keys()), 1)
  const empty = () => {
    secondaryForest = merkleForest()
  }
  measure('secondary is empty', empty, 1)
}

console.log(`${number(keyCount)} keys, values of ${valueBytes} bytes\n`)
console.log(
  table(
    ['what differs', 'by', 'reconciliation B', 'entries B', 'entries', 'round trips', 'CPU s', 'longest step ms'],
    rows,
  ),
)
