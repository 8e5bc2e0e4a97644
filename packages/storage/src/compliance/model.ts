/** Random histories against a map, with transactions that overlap. Needs `fast-check`. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { boundsOf, isEmptyRange, listBounds } from '../key-range.ts'
import type { Entry, ListOptions, Reader, ScanRange, Store, Transaction } from '../store.ts'
import { bytes, type ComplianceTest, collect, rejectsWith, type StoreFixture, text } from './fixture.ts'
import {
  applied,
  type Commit,
  type Observation,
  type Read,
  resultOf,
  same,
  serialOrder,
  touches,
  type Writes,
} from './model-history.ts'
import { modelScan, type State } from './model-state.ts'

export interface StoreModelOptions {
  test: ComplianceTest
  /** Makes an empty store for each history. */
  factory: () => Promise<StoreFixture>
  /** Histories. Default 12, or 400 with SLOW set in the environment. */
  runs?: number
  /**
   * A transaction conflicts only when a key or range that it read was written. Default true; false for a store that may take any other
   * commit since its first read for a conflict.
   */
  exactConflicts?: boolean
}

const KEYS = ['a', 'a-', 'a/', 'a/b', 'a/b/c', 'a/d', 'b', 'b/x/y', 'c', '\uffee', '😀']
/** Transactions at the same time. */
const MOST = 3

interface OpenTransaction {
  /** Numbers of commits before what may be its snapshot; none before the first read. */
  snapshots: number[]
  /** A read that needed the store has been answered. */
  pinned: boolean
  observations: Observation[]
  own: Map<string, string | undefined>
}

interface Model {
  state: State
  /** Since no transaction was open, and the state before and after each. */
  commits: Commit[]
  states: State[]
  /** Those of them that wrote, in an order that explains them all. */
  order: readonly Commit[]
  open: OpenTransaction[]
  cursor: { left: [string, string][] } | undefined
  written: number
  readonly exact: boolean
}

interface Real {
  store: Store
  readonly reopen: (() => Promise<Store>) | undefined
  /** As in the model. */
  open: Transaction[]
  cursor: AsyncIterator<Entry> | undefined
}

type Step = fc.AsyncCommand<Model, Real>

/** Registers a test of whole histories: reads, writes, transactions that overlap, scans held open, and reopening. */
export function storeModel(options: StoreModelOptions): void {
  const { test, factory, exactConflicts: exact = true } = options
  const numRuns = options.runs ?? (process.env.SLOW ? 400 : 12)
  test('model: histories of reads, writes and overlapping transactions', async () => {
    await fc.assert(
      fc.asyncProperty(fc.commands(steps, { maxCommands: 70, size: 'max' }), async (commands) => {
        const fixture = await factory()
        const real: Real = {
          store: fixture.store,
          ...{ reopen: fixture.reopen?.bind(fixture), open: [], cursor: undefined },
        }
        try {
          await fc.asyncModelRun(() => ({ model: emptyModel(exact), real }), commands)
        } finally {
          await letGo(real)
          await real.store.close()
          await fixture.dispose?.()
        }
      }),
      { numRuns },
    )
  })
}

function emptyModel(exact: boolean): Model {
  const state: State = new Map()
  return { state, states: [state], commits: [], order: [], open: [], cursor: undefined, written: 0, exact }
}

async function letGo(real: Real): Promise<void> {
  await real.cursor?.return?.()
  real.cursor = undefined
  for (const transaction of real.open) await transaction.abort()
  real.open = []
}

// Some more often than others, so that transactions meet.
const key = fc.constantFrom(...KEYS, 'a', 'a/b', 'a/d', 'a', 'a/b')
/** Bytes added to a value, so that some do not fit into a page or a cache. */
const padding = fc.constantFrom(0, 0, 0, 1, 9000)
const one = fc.nat(MOST * 2)
const given = <T extends object>(record: fc.Arbitrary<T>): fc.Arbitrary<Partial<T>> =>
  record.map((found) => Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))) as never
const optional = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(values, { nil: undefined, freq: 2 })
const range = given(
  fc.record({
    prefix: optional(fc.constantFrom('a', 'a/', 'b', '😀', '')),
    ...{ after: optional(key), before: optional(key) },
    limit: optional(fc.nat(4)),
    reverse: fc.boolean(),
  }),
) as fc.Arbitrary<ScanRange>
const listing = given(
  fc.record({ after: optional(fc.constantFrom('a', 'a/', 'b', 'b/', 'd')), limit: optional(fc.nat(3)) }),
) as fc.Arbitrary<ListOptions>
const read: fc.Arbitrary<Read> = fc.oneof(
  fc.record({ type: fc.constant('get' as const), key }),
  fc.record({ type: fc.constant('getMany' as const), keys: fc.array(key, { maxLength: 4 }) }),
  fc.record({ type: fc.constant('scan' as const), range }),
  fc.record({
    type: fc.constant('list' as const),
    prefix: fc.constantFrom('', 'a/', 'b/', 'a/b/', 'none/'),
    options: listing,
  }),
)

async function perform(reader: Reader, wanted: Read): Promise<unknown> {
  if (wanted.type === 'get') return text(await reader.get(wanted.key))
  if (wanted.type === 'getMany') return (await reader.getMany(wanted.keys)).map(text)
  if (wanted.type === 'list') return reader.list(wanted.prefix, wanted.options)
  return (await collect(reader.scan(wanted.range))).map(([found, value]) => [found, text(value)])
}

/** Every value is written once only, so that no two states look the same by accident. */
function nextValue(model: Model, extra: number): string {
  return `${++model.written}.`.padEnd(extra, '.')
}

function committed(model: Model, commit: Commit): void {
  model.commits.push(commit)
  model.order = [...model.order, commit]
  model.state = applied(model.state, commit.writes)
  model.states.push(model.state)
  forgetPast(model)
}

function forgetPast(model: Model): void {
  if (model.open.length > 0) return
  model.states = [model.state]
  model.commits = []
  model.order = []
}

function mayConflict(
  model: Model,
  open: OpenTransaction,
  looking: readonly Pick<Observation, 'read' | 'own'>[],
): boolean {
  if (open.snapshots.length === 0) return false
  const since = model.commits.slice(Math.min(...open.snapshots)).filter(({ writes }) => writes.size > 0)
  return since.some(({ writes }) => !model.exact || touches(writes, looking))
}

function isConflict(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'STORAGE_CONFLICT'
}

function step(name: string, check: (model: Model) => boolean, run: (model: Model, real: Real) => Promise<void>): Step {
  return { check, run, toString: () => name }
}

const show = (value: unknown): string => JSON.stringify(value)

const direct = read.map((wanted) =>
  step(
    `read ${show(wanted)}`,
    () => true,
    async (model, real) => assert.deepEqual(await perform(real.store, wanted), resultOf(model.state, wanted)),
  ),
)

const put = fc.tuple(key, padding).map(([target, extra]) =>
  step(
    `put ${show(target)}`,
    () => true,
    async (model, real) => {
      const value = nextValue(model, extra)
      await real.store.put(target, bytes(value))
      committed(model, { observations: [], writes: new Map([[target, value]]) })
    },
  ),
)

const remove = key.map((target) =>
  step(
    `delete ${show(target)}`,
    () => true,
    async (model, real) => {
      await real.store.delete(target)
      committed(model, { observations: [], writes: new Map([[target, undefined]]) })
    },
  ),
)

const together = fc
  .uniqueArray(fc.tuple(key, fc.boolean()), { selector: ([target]) => target, minLength: 2 })
  .map((writes) =>
    step(
      `at once ${show(writes)}`,
      () => true,
      async (model, real) => {
        const values: Writes = new Map(writes.map(([target, gone]) => [target, gone ? undefined : nextValue(model, 0)]))
        await Promise.all(
          [...values].map(([target, value]) =>
            value === undefined ? real.store.delete(target) : real.store.put(target, bytes(value)),
          ),
        )
        for (const write of values) committed(model, { observations: [], writes: new Map([write]) })
      },
    ),
  )

const begin = fc.constant(
  step(
    'begin',
    (model) => model.open.length < MOST,
    async (model, real) => {
      real.open.push(await real.store.begin())
      model.open.push({ snapshots: [], pinned: false, observations: [], own: new Map() })
    },
  ),
)

const anyOpen = (model: Model): boolean => model.open.length > 0

const putWithin = fc.tuple(one, key, padding).map(([n, target, extra]) =>
  step(`put ${show(target)} in ${n}`, anyOpen, async (model, real) => {
    const place = n % model.open.length
    const value = nextValue(model, extra)
    await real.open[place]!.put(target, bytes(value))
    model.open[place]!.own.set(target, value)
  }),
)

const deleteWithin = fc.tuple(one, key).map(([n, target]) =>
  step(`delete ${show(target)} in ${n}`, anyOpen, async (model, real) => {
    const place = n % model.open.length
    await real.open[place]!.delete(target)
    model.open[place]!.own.set(target, undefined)
  }),
)

const readWithin = fc.tuple(one, read).map(([n, wanted]) =>
  step(`read ${show(wanted)} in ${n}`, anyOpen, async (model, real) => {
    const place = n % model.open.length
    const open = model.open[place]!
    const own: Writes = new Map(open.own)
    // A read that needs nothing of the store may or may not take the snapshot.
    if (!open.pinned) {
      const first = open.snapshots[0] ?? model.commits.length
      open.snapshots = Array.from({ length: model.commits.length - first + 1 }, (_, i) => first + i)
      open.pinned = needsStore(wanted, own)
    }
    let result: unknown
    try {
      result = await perform(real.open[place]!, wanted)
    } catch (error) {
      if (!isConflict(error)) throw error
      assert.ok(mayConflict(model, open, [...open.observations, { read: wanted, own }]), 'a conflict with nothing')
      await real.open[place]!.abort()
      end(model, real, [place])
      return
    }
    const expected = (at: number): unknown => resultOf(applied(model.states[at]!, own), wanted)
    const possible = open.snapshots.filter((at) => same(result, expected(at)))
    if (possible.length === 0) assert.deepEqual(result, expected(open.snapshots.at(-1)!))
    if (open.pinned) open.snapshots = possible
    open.observations.push({ read: wanted, own, result })
  }),
)

function needsStore(wanted: Read, own: Writes): boolean {
  if (wanted.type === 'get') return !own.has(wanted.key)
  if (wanted.type === 'getMany') return wanted.keys.some((each) => !own.has(each))
  const bounds = wanted.type === 'scan' ? boundsOf(wanted.range) : listBounds(wanted.prefix, wanted.options)
  return (wanted.type === 'scan' ? wanted.range : wanted.options).limit !== 0 && !isEmptyRange(bounds)
}

function end(model: Model, real: Real, places: readonly number[]): void {
  const others = <T>(list: T[]): T[] => list.filter((_, place) => !places.includes(place))
  model.open = others(model.open)
  real.open = others(real.open)
  forgetPast(model)
}

const abort = one.map((n) =>
  step(`abort ${n}`, anyOpen, async (model, real) => {
    const place = n % model.open.length
    const transaction = real.open[place]!
    await transaction.abort()
    await rejectsWith('STORAGE_CLOSED_TRANSACTION', () => transaction.get('a'))
    end(model, real, [place])
  }),
)

const commit = one.map((n) =>
  step(`commit ${n}`, anyOpen, (model, real) => commitAll(model, real, [n % model.open.length])),
)

const commitTogether = fc.constant(
  step(
    'commit all at once',
    (model) => model.open.length > 1,
    (model, real) => commitAll(model, real, [...model.open.keys()]),
  ),
)

async function commitAll(model: Model, real: Real, places: readonly number[]): Promise<void> {
  const outcomes = await Promise.allSettled(places.map((place) => real.open[place]!.commit()))
  const [done, refused]: [OpenTransaction[], OpenTransaction[]] = [[], []]
  for (const [n, outcome] of outcomes.entries()) {
    const open = model.open[places[n]!]!
    if (outcome.status === 'rejected' && !isConflict(outcome.reason)) throw outcome.reason
    if (outcome.status === 'fulfilled') done.push(open)
    else refused.push(open)
  }
  const commits: Commit[] = done.map(({ observations, own }) => ({ observations, writes: own }))
  // In which order is for the store to choose; what it holds now tells.
  const found = new Map((await perform(real.store, { type: 'scan', range: {} })) as [string, string][])
  const writers = commits.filter(({ writes }) => writes.size > 0)
  const readers = [...model.commits, ...commits].filter(({ writes }) => writes.size === 0)
  const order = serialOrder(model.states[0]!, model.order, writers, readers, found)
  assert.ok(order, 'no order of the commits explains what they read and what is stored')
  model.order = order
  model.commits.push(...commits)
  for (const open of refused) assert.ok(mayConflict(model, open, open.observations), 'a conflict with nothing')
  model.state = found
  // Several at once were all that were open: nobody looks at the states between them.
  if (done.length > 0) model.states.push(found)
  end(model, real, places)
}

const openScan = range.map((wanted) =>
  step(
    `open a scan of ${show(wanted)}`,
    (model) => model.cursor === undefined,
    async (model, real) => {
      model.cursor = { left: modelScan(model.state, wanted) }
      real.cursor = real.store.scan(wanted)[Symbol.asyncIterator]()
      await goOn(model, real, 1)
    },
  ),
)

const stepScan = fc.integer({ min: 1, max: 5 }).map((count) =>
  step(
    `${count} more of the scan`,
    (model) => model.cursor !== undefined,
    (model, real) => goOn(model, real, count),
  ),
)

async function goOn(model: Model, real: Real, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const found = await real.cursor!.next()
    const expected = model.cursor!.left.shift()
    assert.deepEqual(found.done ? undefined : [found.value[0], text(found.value[1])], expected)
    if (!found.done) continue
    model.cursor = undefined
    real.cursor = undefined
    return
  }
}

const reopen = fc.constant(
  step(
    'reopen',
    () => true,
    async (model, real) => {
      if (real.reopen === undefined) return
      await real.cursor?.return?.()
      await real.store.close()
      for (const transaction of real.open) await rejectsWith('STORAGE_CLOSED', () => transaction.commit())
      await letGo(real)
      real.store = await real.reopen()
      model.cursor = undefined
      model.open = []
      forgetPast(model)
      assert.deepEqual(await perform(real.store, { type: 'scan', range: {} }), modelScan(model.state, {}))
    },
  ),
)

const weights: [number, fc.Arbitrary<Step>][] = [
  ...([
    [3, direct],
    [3, put],
    [2, remove],
    [1, together],
    [4, begin],
  ] as [number, fc.Arbitrary<Step>][]),
  ...([
    [4, putWithin],
    [2, deleteWithin],
    [6, readWithin],
  ] as [number, fc.Arbitrary<Step>][]),
  ...([
    [1, abort],
    [3, commit],
    [1, commitTogether],
  ] as [number, fc.Arbitrary<Step>][]),
  ...([
    [1, openScan],
    [2, stepScan],
    [1, reopen],
  ] as [number, fc.Arbitrary<Step>][]),
]
/** As often as its weight: `commands` takes one of the list with equal chances. */
const steps = weights.flatMap(([weight, arbitrary]) => Array<fc.Arbitrary<Step>>(weight).fill(arbitrary))
