/** `npm run simulate`: see the README. */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { applied } from './mutate-text.ts'
import { MUTATIONS } from './mutations.ts'
import { simulate } from './simulate.ts'
import { type Finding, type Report, simulationWorker } from './worker-pool.ts'

const BATCH = 25
/** A long run says every so many seeds how far it is. */
const PROGRESS = 10_000

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '2000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    workers: { type: 'string', default: String(Math.min(availableParallelism(), 8)) },
    mutations: { type: 'boolean', default: false },
    'most-seeds': { type: 'string', default: '2000' },
    bug: { type: 'string' },
    'verify-determinism': { type: 'boolean', default: false },
  },
})

function count(name: 'seeds' | 'from' | 'workers' | 'most-seeds' | 'seed'): number {
  const value = Number(values[name])
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name}: expected a whole number`)
  return value
}

function show({ seed, invariant, message, trace }: Finding, bug?: string): void {
  console.log(`\nseed ${seed}: ${invariant}`)
  for (const line of trace) console.log(`  ${line}`)
  console.log(message)
  console.log(`again: npm run simulate -- --seed ${seed}${bug === undefined ? '' : ` --bug '${bug}'`}`)
}

async function one(seed: number): Promise<boolean> {
  const outcome = await simulate(seed, { print: (line) => console.log(line) })
  const { failure, ...figures } = outcome
  console.log(figures)
  if (failure) console.log(`${failure.invariant}\n${failure.message}`)
  if (!values['verify-determinism']) return failure === undefined
  const again = await simulate(seed)
  const same = again.hash === outcome.hash
  console.log(same ? 'the second run was the same' : `the second run was another: ${again.hash}`)
  return failure === undefined && same
}

async function many(): Promise<boolean> {
  const started = Date.now()
  const seeds = count('seeds')
  const twice = values['verify-determinism']
  let next = count('from')
  const end = next + seeds
  const total: Report = { seeds: 0, events: 0, virtualMs: 0, acknowledged: 0, diffs: 0, findings: [] }
  const work = async (): Promise<void> => {
    const worker = simulationWorker()
    while (next < end) {
      const from = next
      next = Math.min(end, from + BATCH)
      const report = await worker.run({ from, to: next, twice, stopAtFirst: false })
      for (const key of ['seeds', 'events', 'virtualMs', 'acknowledged', 'diffs'] as const) total[key] += report[key]
      for (const finding of report.findings) show(finding)
      total.findings.push(...report.findings)
      if (total.seeds % PROGRESS < report.seeds && total.seeds < seeds) {
        console.log(
          `${total.seeds} seeds after ${Math.round((Date.now() - started) / 1000)} s, ${total.findings.length} failed`,
        )
      }
    }
    worker.end()
  }
  await Promise.all(Array.from({ length: count('workers') }, work))
  const minutes = (Date.now() - started) / 60_000
  const each = (sum: number): string => (sum / total.seeds).toFixed(1)
  console.log(
    `${total.seeds} seeds in ${(minutes * 60).toFixed(1)} s: ${Math.round(total.seeds / minutes)} seeds/minute, ${total.findings.length} failed`,
  )
  console.log(
    `each: ${each(total.events)} events, ${each(total.virtualMs / 1000)} s virtual, ${each(total.acknowledged)} acknowledged writes, ${each(total.diffs)} diffs`,
  )
  return total.findings.length === 0
}

async function mutations(): Promise<boolean> {
  const packages = new URL('../../', import.meta.url)
  for (const { edits } of MUTATIONS) {
    for (const edit of edits) applied(readFileSync(new URL(edit.file, packages), 'utf8'), edit)
  }
  const waiting = MUTATIONS.filter(({ name }) => values.bug === undefined || name === values.bug)
  if (waiting.length === 0) throw new Error(`--bug: none is called ${JSON.stringify(values.bug)}`)
  const from = count('from')
  const most = count('most-seeds')
  let missed = 0
  const work = async (): Promise<void> => {
    for (let mutation = waiting.shift(); mutation; mutation = waiting.shift()) {
      const { name } = mutation
      const worker = simulationWorker(name)
      let found: Finding | undefined
      let tried = 0
      while (found === undefined && tried < most) {
        const size = Math.min(BATCH, most - tried)
        const report = await worker.run({
          from: from + tried,
          to: from + tried + size,
          twice: false,
          stopAtFirst: true,
        })
        tried += report.seeds
        found = report.findings[0]
      }
      worker.end()
      if (found === undefined) missed++
      const result = found
        ? `caught after ${tried} seeds: ${found.message.split('\n')[0]!.slice(0, 140)}`
        : `NOT caught in ${tried} seeds`
      console.log(`${name}: ${result}`)
    }
  }
  await Promise.all(Array.from({ length: count('workers') }, work))
  return missed === 0
}

async function run(): Promise<boolean> {
  if (values.seed !== undefined) {
    if (values.bug === undefined) return one(count('seed'))
    const worker = simulationWorker(values.bug)
    const seed = count('seed')
    const { findings } = await worker.run({ from: seed, to: seed + 1, twice: false, stopAtFirst: true })
    worker.end()
    for (const finding of findings) show(finding, values.bug)
    return findings.length === 0
  }
  const clean = values.bug === undefined && count('seeds') > 0 ? await many() : true
  return values.mutations || values.bug !== undefined ? (await mutations()) && clean : clean
}

process.exitCode = (await run()) ? 0 : 1
