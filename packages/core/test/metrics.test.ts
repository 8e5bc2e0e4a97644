// What each node shows of itself in numbers, in every role and state.
import { readFileSync } from 'node:fs'
import { memoryLeaderLock, memoryStore } from '@lockstep/storage'
import { afterEach, describe, expect, test } from 'vitest'
import { CATALOG } from '../src/metrics/catalog.ts'
import { timeComparisons } from '../src/metrics/link-metrics.ts'
import { meter, type Sample } from '../src/metrics/meter.ts'
import { generate, inSync, link, type Node, startNode, waitFor } from './cluster.ts'

const nodes: Node[] = []
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})
async function started(): Promise<Node> {
  const node = await startNode()
  nodes.push(node)
  await node.init()
  return node
}

const find = (samples: readonly Sample[], name: string, labels: Record<string, string> = {}): Sample | undefined =>
  samples.find(
    (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  )
const value = async (node: Node, name: string, labels?: Record<string, string>): Promise<number | undefined> =>
  find((await node.core.metrics()).samples, name, labels)?.value

test('roles, lag, positions and traffic on a primary, its secondary and its DR secondary', async () => {
  const primary = await started()
  expect(await value(primary, 'core.replication.performance.primary')).toBe(0)
  await primary.change('sys/replication/performance/primary/enable')
  await primary.change('sys/replication/dr/primary/enable')
  const secondary = await started()
  await link(primary, secondary, 'performance', 'eu')
  const dr = await started()
  await link(primary, dr, 'dr', 'dr')
  await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await inSync(primary, secondary, 'performance')
  await inSync(primary, dr, 'dr')

  for (const [node, name] of [
    [primary, 'core.replication.performance.primary'],
    [primary, 'core.replication.dr.primary'],
    [secondary, 'core.replication.performance.secondary'],
    [dr, 'core.replication.dr.secondary'],
    [dr, 'core.active'],
  ] as const) {
    expect(await value(node, name), name).toBe(1)
  }
  const head = (await primary.core.health()).body.last_wal
  expect(await value(primary, 'replication.wal.last_performance_wal')).toBe(head)
  await waitFor('acknowledgements', async () => {
    const { samples } = await primary.core.metrics()
    const eu = { kind: 'performance', secondary: 'eu' }
    return (
      find(samples, 'replication.secondary.acknowledged_wal', eu)?.value === head &&
      find(samples, 'replication.secondary.lag_entries', eu)?.value === 0 &&
      find(samples, 'replication.secondary.connected', { kind: 'dr', secondary: 'dr' })?.value === 1
    )
  })
  expect(await value(primary, 'logshipper.streamWALs.missing_guard')).toBeGreaterThanOrEqual(2)
  expect(await value(primary, 'replication.link.bytes', { kind: 'dr', direction: 'sent' })).toBeGreaterThan(1000)
  expect(await value(secondary, 'replication.link.bytes', { direction: 'received' })).toBeGreaterThan(1000)
  expect(await value(dr, 'replication.lag_seconds', { kind: 'dr' })).toBeGreaterThanOrEqual(0)
  expect(await value(dr, 'replication.connected', { kind: 'dr' })).toBe(1)

  secondary.token = await generate(secondary, 'root')
  await secondary.ask('update', 'kv/a', { n: 1 })
  expect(find((await secondary.core.metrics()).samples, 'replication.rpc.client.forward')?.summary?.count).toBe(1)
  const { samples } = await primary.core.metrics()
  expect(find(samples, 'replication.rpc.server.forwarding_request')?.summary?.count).toBe(1)
  expect(find(samples, 'replication.rpc.server.bootstrap_request')?.summary?.count).toBe(2)
  const persisted = find(samples, 'wal.persistWALs')!.summary!
  expect(persisted.count).toBeGreaterThan(10)
  expect(persisted.quantiles['0.99']).toBeGreaterThanOrEqual(persisted.quantiles['0.5'])
  expect(find(samples, 'wal.flushReady')?.summary?.count).toBeGreaterThan(0)

  // A link that is gone shows.
  await secondary.close()
  await waitFor(
    'the loss',
    async () => (await value(primary, 'replication.secondary.connected', { secondary: 'eu' })) === 0,
  )
})

test('every sample is of the catalogue, and no label holds more than an id or a word', async () => {
  const primary = await started()
  await primary.change('sys/replication/performance/primary/enable')
  const secondary = await started()
  await link(primary, secondary, 'performance', 'eu')
  await primary.ask('update', 'sys/mounts/top-secret-mount', { type: 'kv' })
  await inSync(primary, secondary, 'performance')
  for (const node of [primary, secondary]) {
    const { samples } = await node.core.metrics()
    expect(samples.length).toBeGreaterThan(15)
    for (const { name, kind, labels, value, summary } of samples) {
      expect(CATALOG[name]?.[0], name).toBe(kind)
      expect(kind === 'summary' ? summary?.count : value, name).toEqual(expect.any(Number))
      for (const text of Object.values(labels))
        expect(text).toMatch(/^(?:performance|dr|eu|primary|sent|received|guard|content|gap|repeated|history)$/)
    }
    expect(JSON.stringify(samples)).not.toContain('top-secret-mount')
    // One series is there once.
    const series = samples.map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`)
    expect(new Set(series).size).toBe(series.length)
  }
})

test('the metrics of docs/compatibility.md are there, or are not, as it says', () => {
  const text = readFileSync(new URL('../../../docs/compatibility.md', import.meta.url), 'utf8')
  const section = text.slice(text.indexOf('\nMetrics (section 7)'))
  const rows = [...section.slice(0, section.indexOf('\nHeaders')).matchAll(/^\| `([\w.{},]+)` +\| ([a-z ]+?) +\|/gm)]
  expect(rows.length).toBeGreaterThan(20)
  for (const [, pattern, state] of rows) {
    for (const name of expanded(pattern!)) {
      expect(name in CATALOG, `${name}: ${state}`).toBe(state === 'supported')
    }
  }
})

/** `a.{b,c}` as `a.b` and `a.c`. */
function expanded(pattern: string): string[] {
  const found = /^([^{]*)\{([^}]*)\}(.*)$/.exec(pattern)
  if (found === null) return [pattern]
  return found[2]!.split(',').flatMap((choice) => expanded(found[1]! + choice + found[3]!))
}

test('sys/metrics asks for a token, on a DR secondary for one that may operate it', async () => {
  const primary = await started()
  await primary.change('sys/replication/dr/primary/enable')
  expect(await primary.ask('read', 'sys/metrics', {}, { token: '' })).toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
  expect(await primary.ask('read', 'sys/metrics')).toMatchObject({ status: 200 })
  const dr = await started()
  await link(primary, dr, 'dr', 'dr')
  await inSync(primary, dr, 'dr')
  for (const token of ['', 'hvs.wrong']) {
    expect(await dr.ask('read', 'sys/metrics', {}, { token })).toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
  }
  const token = await generate(dr, 'dr-operation')
  expect(await dr.ask('read', 'sys/metrics', {}, { token })).toMatchObject({ status: 200 })
  expect(await dr.ask('update', 'sys/metrics', {}, { token })).toMatchObject({ code: 'CORE_UNSUPPORTED_OPERATION' })
})

test('sealed nodes and standbys show themselves too', async () => {
  const [store, lock] = [memoryStore(), memoryLeaderLock()]
  const [one, two] = await Promise.all([startNode({ store, lock }), startNode({ store, lock })])
  nodes.push(one, two)
  await one.init()
  await waitFor('the lead', async () => (await value(one, 'core.active')) === 1)
  expect([await value(two, 'core.unsealed'), await value(two, 'core.active')]).toEqual([0, 0])
  await two.unseal(one.keys)
  expect([await value(two, 'core.unsealed'), await value(two, 'core.active')]).toEqual([1, 0])
})

describe('the meter', () => {
  test('counts, sums and quantiles', () => {
    const counts = meter()
    counts.count('replication.link.bytes', 5, { kind: 'dr' })
    counts.count('replication.link.bytes', 2, { kind: 'dr' })
    for (let n = 1; n <= 2000; n++) counts.observe('wal.flushReady', n)
    const [bytes, flush] = counts.samples()
    expect(bytes).toMatchObject({ kind: 'counter', value: 7, labels: { kind: 'dr' } })
    // The window holds the newest 1024: 977 to 2000.
    expect(flush!.summary).toMatchObject({ count: 2000, sum: 2_001_000, min: 1, max: 2000 })
    expect(flush!.summary!.quantiles['0.5']).toBe(1489)
    expect(flush!.summary!.quantiles['0.99']).toBe(1990)
  })

  test('labels cannot make it grow without end', () => {
    const counts = meter()
    for (let n = 0; n < 5000; n++) counts.count('replication.link.bytes', 1, { kind: String(n) })
    expect(counts.samples().length).toBe(2000)
  })

  test('what fails is timed as well', async () => {
    let now = 0
    const counts = meter(() => now)
    const failing = counts.time('replication.rpc.client.forward', async () => {
      now += 7
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(counts.samples()[0]!.summary).toMatchObject({ count: 1, sum: 7 })
  })

  test('comparisons are timed by their states', () => {
    let now = 0
    const counts = meter()
    const told = timeComparisons(counts, 'dr', () => now)
    const repair = { from: 1, to: 9, partitions: [], keys: 3, at: 5 }
    for (const [state, at] of [
      ['merkle-diff', 10],
      ['merkle-diff', 15],
      ['merkle-sync', 30],
      ['stream-wals', 100],
    ] as const) {
      now = at
      told({ state, lastRepair: null })
    }
    const [diff, sync] = counts.samples().filter(({ kind }) => kind === 'summary')
    expect(diff).toMatchObject({ name: 'replication.merkleDiff', summary: { count: 1, sum: 20 } })
    expect(sync).toMatchObject({ name: 'replication.merkleSync', summary: { count: 1, sum: 70 } })
    // A repair counts once, when it is done, and only if it was one.
    told({ state: 'merkle-diff', lastRepair: { ...repair, reason: 'guard', repairedAt: 0 } })
    for (const state of ['stream-wals', 'idle'] as const) {
      told({ state, lastRepair: { ...repair, reason: 'guard', repairedAt: 9 } })
    }
    told({ state: 'stream-wals', lastRepair: { ...repair, reason: 'asked', repairedAt: 12 } })
    const repairs = counts.samples().filter(({ name }) => name.startsWith('replication.repair'))
    expect(repairs.filter(({ value }) => value !== 0)).toMatchObject([
      { name: 'replication.repairs', value: 1, labels: { reason: 'guard' } },
      { name: 'replication.repaired_keys', value: 3 },
    ])
    // The others are there at 0 from the start, for rates.
    expect(repairs.length).toBe(6)
  })
})
