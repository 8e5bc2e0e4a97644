import { type Engine, memoryEngine } from '@lockstep/storage'
import { describe, expect, test } from 'vitest'
import type { LoggedStore, LogPressure } from '../src/index.ts'
import { bytes, checkDisk, entries, open } from './fixture.ts'

const fill = async (store: LoggedStore, count: number, size = 1) => {
  for (let i = 0; i < count; i++) await store.put(`kv/${i % 7}`, bytes(`${store.log.head().index}`.padEnd(size, '.')))
}

const bound = (engine: Engine): Engine => ({
  get: (key) => engine.get(key),
  getMany: (keys) => engine.getMany(keys),
  scan: (range) => engine.scan(range),
  write: (operations) => engine.write(operations),
  close: () => engine.close(),
})

const indexes = async (store: LoggedStore, after: number, maxBytes = 1e9) =>
  (await store.log.read(after, maxBytes)).map((record) => record.index)

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at)

describe('reading', () => {
  test('from memory and from disk alike, bounded in bytes', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await fill(store, 300, 100)
    const cold = await open(disk, { tailBytes: 0 })
    for (const reader of [store, cold]) {
      expect(await indexes(reader, 0)).toEqual(range(1, 300))
      expect(await indexes(reader, 299)).toEqual([300])
      expect(await indexes(reader, 300)).toEqual([])
      expect(await indexes(reader, 5, 1)).toEqual([6])
      expect((await indexes(reader, 5, 1000)).length).toBeGreaterThan(3)
      expect((await indexes(reader, 5, 1000)).length).toBeLessThan(10)
    }
    expect(await cold.log.read(0, 1e9)).toEqual(await store.log.read(0, 1e9))
    for (const index of [0, 1, 150, 300]) {
      expect(await cold.log.digestAt(index)).toEqual(await store.log.digestAt(index))
      expect(await store.log.digestAt(index)).toHaveLength(32)
    }
    expect(await store.log.digestAt(301)).toBeUndefined()
  })

  test('a memory tail smaller than the log continues on disk', async () => {
    const store = await open(memoryEngine(), { tailBytes: 1000 })
    await fill(store, 50, 100)
    expect(await indexes(store, 0)).toEqual(range(1, 50))
    expect(await indexes(store, 47)).toEqual([48, 49, 50])
  })
})

describe('retention', () => {
  test('what every consumer has is trimmed, durably', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await fill(store, 20)
    await store.log.trim()
    expect(store.log.oldest()).toBe(1)
    store.log.retain('a', 10)
    store.log.retain('b', 5)
    const digest = await store.log.digestAt(5)
    await store.log.trim()
    expect(store.log.oldest()).toBe(6)
    expect(await store.log.digestAt(5)).toEqual(digest)
    expect(await store.log.digestAt(4)).toBeUndefined()
    await expect(store.log.read(4, 1e6)).rejects.toMatchObject({ code: 'REPLICATION_LOG_TRIMMED' })
    expect(await indexes(store, 5)).toEqual(range(6, 20))
    store.log.release('b')
    await store.log.trim()
    expect(store.log.oldest()).toBe(11)
    const reopened = await open(disk)
    expect(reopened.log.oldest()).toBe(11)
    expect(reopened.log.bytes()).toBe(store.log.bytes())
    await expect(reopened.log.read(9, 1e6)).rejects.toMatchObject({ code: 'REPLICATION_LOG_TRIMMED' })
    expect(await indexes(reopened, 10)).toEqual(range(11, 20))
    reopened.log.retain('a', 999)
    await reopened.log.trim()
    expect(reopened.log.oldest()).toBe(21)
    expect(await entries(disk, 'w/')).toEqual([])
    await fill(reopened, 1)
    expect(await indexes(reopened, 20)).toEqual([21])
    await checkDisk(disk)
  })

  test('a full log warns at 75 %, then gives up the oldest, whoever needs them', async () => {
    const disk = memoryEngine()
    const warnings: LogPressure[] = []
    const store = await open(disk, { logBytes: 10_000, onLogPressure: (pressure) => warnings.push(pressure) })
    store.log.retain('slow', 3)
    while (store.log.bytes() < 7400) await fill(store, 1, 100)
    expect(warnings).toEqual([])
    while (store.log.bytes() < 7700) await fill(store, 1, 100)
    expect(warnings).toMatchObject([{ capBytes: 10_000, consumer: 'slow', index: 3 }])
    for (let i = 0; i < 200; i++) {
      await fill(store, 1, 100)
      await new Promise((resolve) => setTimeout(resolve, 0))
    }
    await store.log.trim()
    expect(store.log.bytes()).toBeLessThanOrEqual(10_000)
    expect(store.log.bytes()).toBeGreaterThan(8000)
    expect(store.log.oldest()).toBeGreaterThan(100)
    expect(warnings).toHaveLength(1)
    await checkDisk(disk)
    expect(await indexes(store, store.log.oldest() - 1)).toEqual(range(store.log.oldest(), store.log.head().index))
  })

  test('a cap in records gives up the oldest too', async () => {
    const disk = memoryEngine()
    const store = await open(disk, { logRecords: 40 })
    store.log.retain('slow', 0)
    await fill(store, 40)
    await store.log.trim()
    expect(store.log.oldest()).toBe(1)
    await fill(store, 1)
    await store.log.trim()
    // A tenth of the cap is given up at once, so that not every write trims.
    expect(store.log.oldest()).toBe(6)
    expect(await indexes(store, 5)).toEqual(range(6, 41))
    await checkDisk(disk)
  })

  test('a read that a trim overtakes is refused, never returned with a gap', async () => {
    const disk = memoryEngine()
    let beforeScan = async () => {}
    const slow: Engine = {
      ...bound(disk),
      async *scan(range) {
        if (range.prefix === 'w/') await beforeScan()
        yield* disk.scan(range)
      },
    }
    const store = await open(slow, { tailBytes: 0 })
    await fill(store, 20)
    store.log.retain('a', 9)
    beforeScan = () => store.log.trim()
    await expect(store.log.read(2, 1e6)).rejects.toMatchObject({ code: 'REPLICATION_LOG_TRIMMED' })
    expect(await indexes(store, 9)).toEqual(range(10, 20))
  })

  test('rows a crash left below the start are swept at the next open', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await fill(store, 10)
    const rows = await entries(disk, 'w/')
    store.log.retain('a', 8)
    await store.log.trim()
    await disk.write(rows.slice(2, 8).map(([key, value]) => ({ type: 'put' as const, key, value })))
    const reopened = await open(disk)
    expect(reopened.log.oldest()).toBe(9)
    await reopened.log.trim()
    expect((await entries(disk, 'w/')).map(([key]) => key)).toEqual(rows.slice(8).map(([key]) => key))
  })

  test('without keepLog the head advances and no bodies stay', async () => {
    const disk = memoryEngine()
    let keep = true
    const store = await open(disk, { keepLog: () => keep })
    await fill(store, 5)
    keep = false
    await fill(store, 5)
    expect(store.log.head().index).toBe(10)
    expect(store.log.oldest()).toBe(11)
    expect(await store.log.digestAt(10)).toEqual(store.log.head().digest)
    await expect(store.log.read(3, 1e6)).rejects.toMatchObject({ code: 'REPLICATION_LOG_TRIMMED' })
    keep = true
    await fill(store, 2)
    expect(store.log.oldest()).toBe(11)
    expect(await indexes(store, 10)).toEqual([11, 12])
    await store.log.trim()
    expect(await entries(disk, 'w/')).toHaveLength(2)
    await checkDisk(disk)
    expect(await indexes(await open(disk), 10)).toEqual([11, 12])
  })
})

test('epochs only go up, and survive', async () => {
  const disk = memoryEngine()
  const store = await open(disk)
  await fill(store, 2)
  await store.log.startEpoch(4)
  await expect(store.log.startEpoch(4)).rejects.toMatchObject({ code: 'REPLICATION_INVALID' })
  expect(store.log.head()).toMatchObject({ epoch: 4, index: 2 })
  await fill(store, 1)
  expect((await store.log.read(2, 1e6))[0]).toMatchObject({ epoch: 4, index: 3 })
  expect((await open(disk)).log.head()).toEqual(store.log.head())
  await checkDisk(disk)
})

test('two empty logs have different beginnings', async () => {
  const [a, b] = [await open(memoryEngine()), await open(memoryEngine())]
  expect(a.log.head().digest).not.toEqual(b.log.head().digest)
})

test('a newer format is left alone', async () => {
  const disk = memoryEngine()
  await disk.write([{ type: 'put', key: 'h', value: bytes('\u0003whatever') }])
  await expect(open(disk)).rejects.toMatchObject({ code: 'REPLICATION_NEWER_FORMAT' })
})
