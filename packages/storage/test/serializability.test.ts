import assert from 'node:assert/strict'
import fc from 'fast-check'
import { test } from 'vitest'
import {
  type CommitHooks,
  type Engine,
  type ListOptions,
  memoryEngine,
  optimisticStore,
  type ScanRange,
  type Store,
  storeEngine,
  type Transaction,
} from '../src/index.ts'
import { modelList, modelScan, type State } from './model.ts'

const KEYS = ['a', 'a-', 'a/', 'a/b', 'a/b/c', 'a/d', 'b', 'b/x/y', 'c', '\uffee', '😀']
/** Behind every other key. */
const MARKERS = '\u{10ffff}'

const key = fc.constantFrom(...KEYS)
const optional = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined, freq: 3 })
const range: fc.Arbitrary<ScanRange> = fc
  .record({
    prefix: optional(fc.constantFrom('a', 'a/', 'b', '')),
    after: optional(key),
    before: fc.oneof({ weight: 1, arbitrary: key }, { weight: 3, arbitrary: fc.constant(MARKERS) }),
    limit: optional(fc.integer({ min: 0, max: 4 })),
    reverse: fc.boolean(),
  })
  .map((found) => Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined)))
const listing: fc.Arbitrary<ListOptions> = fc
  .record({ after: optional(fc.constantFrom('a', 'a/', 'b')), limit: optional(fc.integer({ min: 0, max: 3 })) })
  .map((found) => Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined)))

type Read =
  | { type: 'get'; key: string }
  | { type: 'getMany'; keys: string[] }
  | { type: 'scan'; range: ScanRange; stopAfter: number }
  | { type: 'list'; prefix: string; options: ListOptions }
type Step = Read | { type: 'put'; key: string } | { type: 'delete'; key: string }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ type: fc.constant('get' as const), key }),
  fc.record({ type: fc.constant('getMany' as const), keys: fc.array(key, { maxLength: 3 }) }),
  fc.record({ type: fc.constant('scan' as const), range, stopAfter: fc.constantFrom(1, 2, 100) }),
  fc.record({ type: fc.constant('list' as const), prefix: fc.constantFrom('a/', 'b/'), options: listing }),
  fc.record({ type: fc.constant('put' as const), key }),
  fc.record({ type: fc.constant('delete' as const), key }),
)

type Actor =
  | { type: 'transaction'; steps: Step[]; end: 'commit' | 'abort' }
  | { type: 'blind'; writes: { key: string; remove: boolean }[] }

const actor: fc.Arbitrary<Actor> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('transaction' as const),
      steps: fc.array(step, { minLength: 1, maxLength: 6 }),
      end: fc.constantFrom('commit' as const, 'commit' as const, 'commit' as const, 'abort' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('blind' as const),
      writes: fc.array(fc.record({ key, remove: fc.boolean() }), { minLength: 1, maxLength: 4 }),
    }),
  },
)

/** A read, what the transaction had written by then, and what the read said. */
interface Observation {
  read: Read
  own: ReadonlyMap<string, string | undefined>
  result: unknown
}

interface Trace {
  id: number
  observations: Observation[]
  outcome: 'committed' | 'conflict' | 'failed' | 'aborted'
  wrote: boolean
}

/** Waits a number of turns of the event loop that depends on the seed only. */
function pauses(seed: number): () => Promise<void> {
  let state = seed | 1
  return async () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    for (let turns = (state >> 8) % 4; turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Slow at random, may show a write before it resolves, and refuses some writes. */
function unrulyEngine(pause: () => Promise<void>, failures: Set<number>): Engine {
  const engine = memoryEngine()
  let writes = 0
  return {
    get: async (wanted) => {
      await pause()
      const value = await engine.get(wanted)
      await pause()
      return value
    },
    getMany: async (wanted) => {
      await pause()
      const values = await engine.getMany(wanted)
      await pause()
      return values
    },
    scan: async function* (wanted) {
      await pause()
      for await (const entry of engine.scan(wanted)) {
        yield entry
        await pause()
      }
    },
    list: async (prefix, options) => {
      await pause()
      const names = await engine.list!(prefix, options)
      await pause()
      return names
    },
    write: async (operations) => {
      await pause()
      if (failures.has(writes++)) throw new Error('refused')
      await engine.write(operations)
      await pause()
    },
    close: () => engine.close(),
  }
}

const text = (value: Uint8Array | undefined) => (value === undefined ? undefined : new TextDecoder().decode(value))
const bytes = (value: string) => new TextEncoder().encode(value)

async function perform(transaction: Transaction, read: Read): Promise<unknown> {
  if (read.type === 'get') return text(await transaction.get(read.key))
  if (read.type === 'getMany') return (await transaction.getMany(read.keys)).map(text)
  if (read.type === 'list') return transaction.list(read.prefix, read.options)
  const entries: [string, string][] = []
  for await (const [found, value] of transaction.scan(read.range)) {
    entries.push([found, text(value)!])
    if (entries.length >= read.stopAfter) break
  }
  return entries
}

function expected(state: State, { read, own }: Observation): unknown {
  const seen = new Map(state)
  for (const [written, value] of own) {
    if (value === undefined) seen.delete(written)
    else seen.set(written, value)
  }
  if (read.type === 'get') return seen.get(read.key)
  if (read.type === 'getMany') return read.keys.map((wanted) => seen.get(wanted))
  if (read.type === 'list') return modelList(seen, read.prefix, read.options)
  return modelScan(seen, read.range).slice(0, read.stopAfter)
}

async function runTransaction(
  store: Store,
  id: number,
  script: Actor & { type: 'transaction' },
  pause: () => Promise<void>,
) {
  const trace: Trace = { id, observations: [], outcome: 'aborted', wrote: false }
  const own = new Map<string, string | undefined>()
  const transaction = await store.begin()
  try {
    for (const [index, current] of script.steps.entries()) {
      await pause()
      if (current.type === 'put') {
        own.set(current.key, `${id}.${index}`)
        await transaction.put(current.key, bytes(`${id}.${index}`))
      } else if (current.type === 'delete') {
        own.set(current.key, undefined)
        await transaction.delete(current.key)
      } else {
        trace.observations.push({ read: current, own: new Map(own), result: await perform(transaction, current) })
      }
    }
    await pause()
    trace.wrote = own.size > 0
    if (trace.wrote) await transaction.put(`${MARKERS}${id}`, bytes('x'))
    await transaction[script.end]()
    if (script.end === 'commit') trace.outcome = 'committed'
  } catch (error) {
    trace.outcome = (error as { code?: string }).code === 'STORAGE_CONFLICT' ? 'conflict' : 'failed'
    if (trace.outcome === 'failed') assert.equal((error as Error).message, 'refused')
    await transaction.abort()
  }
  return trace
}

async function check(
  actors: Actor[],
  seed: number,
  failures: number[],
  wrap: (engine: Engine, hooks: CommitHooks) => Store,
) {
  const pause = pauses(seed)
  const states: State[] = [new Map()]
  const committedAt = new Map<number, number>()
  const hooks: CommitHooks = {
    committed(commits) {
      for (const { operations } of commits) {
        const next = new Map(states.at(-1))
        for (const operation of operations) {
          if (operation.key.startsWith(MARKERS))
            committedAt.set(Number(operation.key.slice(MARKERS.length)), states.length - 1)
          else if (operation.type === 'put') next.set(operation.key, text(operation.value)!)
          else next.delete(operation.key)
        }
        states.push(next)
      }
    },
  }
  const store = wrap(unrulyEngine(pause, new Set(failures)), hooks)
  const traces = await Promise.all(
    actors.map(async (script, id) => {
      if (script.type === 'transaction') return runTransaction(store, id, script, pause)
      for (const [index, write] of script.writes.entries()) {
        await pause()
        const done = write.remove ? store.delete(write.key) : store.put(write.key, bytes(`${id}.${index}`))
        await done.catch((error: Error) => assert.equal(error.message, 'refused'))
      }
      return undefined
    }),
  )

  const explains = (state: State, trace: Trace) =>
    trace.observations.every((observation) => {
      try {
        assert.deepEqual(observation.result, expected(state, observation))
        return true
      } catch {
        return false
      }
    })
  for (const trace of traces) {
    if (trace === undefined) continue
    assert.equal(
      committedAt.has(trace.id),
      trace.outcome === 'committed' && trace.wrote,
      'stored if and only if committed',
    )
    const before = committedAt.get(trace.id)
    if (before !== undefined) assert.ok(explains(states[before]!, trace), 'a commit read the state it was applied to')
    else
      assert.ok(
        states.some((state) => explains(state, trace)),
        'every transaction read one state',
      )
  }
  const stored: [string, string | undefined][] = []
  for await (const [found, value] of store.scan({ before: MARKERS })) stored.push([found, text(value)])
  assert.deepEqual(stored, modelScan(states.at(-1)!, {}))
  await store.close()
}

const scenario = [
  fc.array(actor, { minLength: 2, maxLength: 8 }),
  fc.integer({ min: 1, max: 0x7ffffffe }),
  fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 2 }),
] as const

test('transactions at the same time behave as if they had run one after the other, in commit order', async () => {
  await fc.assert(
    fc.asyncProperty(...scenario, fc.constantFrom(1, 2, 1000), (actors, seed, failures, maxGroup) =>
      check(actors, seed, failures, (engine, hooks) => optimisticStore(engine, { hooks, maxGroup })),
    ),
    { numRuns: 600 },
  )
})

test('the same for a store stacked on a store', async () => {
  await fc.assert(
    fc.asyncProperty(...scenario, (actors, seed, failures) =>
      check(actors, seed, failures, (engine, hooks) =>
        optimisticStore(storeEngine(optimisticStore(engine)), { hooks }),
      ),
    ),
    { numRuns: 200 },
  )
})
