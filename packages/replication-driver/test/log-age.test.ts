import { type Engine, memoryEngine } from '@lockstep/storage'
import { describe, expect, test } from 'vitest'
import { type LoggedStore, type LogPressure, type Runtime, recordsAfter } from '../src/index.ts'
import { HEAD, LOG } from '../src/layout.ts'
import { systemRuntime } from '../src/runtime.ts'
import { bytes, checkDisk, entries, open, rootOf, text } from './fixture.ts'

const HOUR = 3_600_000

/** A clock that only moves when told; timers run when their time has come. */
function manualTime(start = 1_000_000_000_000) {
  let now = start
  let timers: { at: number; run: () => void }[] = []
  const runtime: Runtime = {
    ...systemRuntime,
    now: () => now,
    after(ms, run) {
      const timer = { at: now + ms, run }
      timers.push(timer)
      return () => {
        timers = timers.filter((other) => other !== timer)
      }
    },
  }
  return {
    runtime,
    set(time: number) {
      now = time
    },
    pass(ms: number) {
      const until = now + ms
      for (;;) {
        const next = timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
        if (!next) break
        now = Math.max(now, next.at)
        timers = timers.filter((other) => other !== next)
        next.run()
      }
      now = until
    },
  }
}

const write = async (store: LoggedStore, count = 1) => {
  for (let i = 0; i < count; i++) await store.put('kv/a', bytes(`${store.log.head().index}`))
}

describe('records know when they were written', () => {
  test('after a restart too, and never earlier than the one before', async () => {
    const disk = memoryEngine()
    const time = manualTime(5000)
    const store = await open(disk, { runtime: time.runtime })
    expect(store.log.oldestTime()).toBeUndefined()
    await write(store)
    time.set(7000.7)
    await write(store)
    time.set(6000)
    await write(store)
    for (const reader of [store, await open(disk, { runtime: time.runtime, tailBytes: 0 })]) {
      expect(reader.log.oldestTime()).toBe(5000)
      expect(await Promise.all([0, 1, 2, 3, 4].map((index) => reader.log.timeAt(index)))).toEqual([
        undefined,
        5000,
        7000,
        7000,
        undefined,
      ])
    }
    store.log.retain('a', 1)
    await store.log.trim()
    expect(store.log.oldestTime()).toBe(7000)
    const reopened = await open(disk, { runtime: time.runtime })
    reopened.log.retain('a', 3)
    await reopened.log.trim()
    expect(reopened.log.oldestTime()).toBeUndefined()
    // Nothing is kept that could tell; the clock's word counts again.
    await write(await open(disk, { runtime: time.runtime }))
    expect((await open(disk)).log.oldestTime()).toBe(6000)
    await checkDisk(disk)
  })

  test('two clusters with different clocks have the same digests of the same records', async () => {
    const [a, b] = [memoryEngine(), memoryEngine()]
    await open(a)
    await b.write((await entries(a, HEAD)).map(([key, value]) => ({ type: 'put' as const, key, value })))
    const [one, two] = [
      await open(a, { runtime: manualTime(1000).runtime }),
      await open(b, { runtime: manualTime(2000).runtime }),
    ]
    await write(one, 3)
    await write(two, 3)
    expect(one.log.head()).toEqual(two.log.head())
  })
})

describe('a cap on age', () => {
  test('warns at 75 %, then gives up what is too old, also while nothing is written', async () => {
    const disk = memoryEngine()
    const time = manualTime()
    const warnings: LogPressure[] = []
    const store = await open(disk, {
      runtime: time.runtime,
      logMaxAgeMs: 4 * HOUR,
      onLogPressure: (pressure) => warnings.push(pressure),
    })
    await write(store, 2)
    store.log.retain('slow', 0)
    time.pass(2 * HOUR)
    await write(store, 2)
    expect(warnings).toEqual([])
    time.pass(HOUR + 2000)
    expect(warnings).toMatchObject([{ cap: 'age', capAgeMs: 4 * HOUR, consumer: 'slow', index: 0 }])
    expect(warnings[0]!.ageMs).toBeGreaterThanOrEqual(3 * HOUR)
    expect(store.log.oldest()).toBe(1)
    time.pass(HOUR)
    // The trim is under way by now; this one waits for it.
    await store.log.trim()
    expect(store.log.oldest()).toBe(3)
    expect(await recordsAfter(store.log, { ...store.log.head(), index: 0 })).toBe('trimmed')
    time.pass(3 * HOUR)
    await store.log.trim()
    expect(store.log.oldest()).toBe(5)
    expect(warnings).toHaveLength(2)
    expect(await entries(disk, LOG)).toEqual([])
    await checkDisk(disk)
  })

  test('records that nobody waits for are given up without a warning', async () => {
    const time = manualTime()
    const warnings: LogPressure[] = []
    const store = await open(memoryEngine(), {
      runtime: time.runtime,
      logMaxAgeMs: HOUR,
      onLogPressure: (pressure) => warnings.push(pressure),
    })
    await write(store, 3)
    time.pass(2 * HOUR)
    await store.log.trim()
    expect(store.log.oldest()).toBe(4)
    expect(warnings).toEqual([])
  })
})

describe('consumers', () => {
  const settled = () => new Promise((resolve) => setImmediate(resolve))

  test('how far behind each is, in records, bytes and time, slowest first', async () => {
    const disk = memoryEngine()
    const time = manualTime(10_000)
    const store = await open(disk, { runtime: time.runtime })
    for (let i = 0; i < 4; i++) {
      await write(store)
      time.pass(1000)
    }
    const sizes = store.log.bytes() / 4
    store.log.retain('level', 4)
    store.log.retain('slow', 1)
    expect(store.log.consumers()).toEqual([
      { consumer: 'slow', index: 1, bytesBehind: 3 * sizes, ageMs: 3000 },
      { consumer: 'level', index: 4, bytesBehind: 0, ageMs: 0 },
    ])
    await write(store)
    time.pass(500)
    expect(store.log.consumers()).toMatchObject([
      { consumer: 'slow', ageMs: 3500 },
      { consumer: 'level', index: 4, bytesBehind: sizes, ageMs: 500 },
    ])
    store.log.release('slow')
    expect(store.log.consumers().map(({ consumer }) => consumer)).toEqual(['level'])
  })

  test('also from the disk, and past what is kept', async () => {
    const disk = memoryEngine()
    const time = manualTime(10_000)
    const store = await open(disk, { runtime: time.runtime, tailBytes: 0 })
    for (let i = 0; i < 4; i++) {
      await write(store)
      time.pass(1000)
    }
    const sizes = store.log.bytes() / 4
    store.log.retain('slow', 2)
    // Before the row is read the whole log counts.
    expect(store.log.consumers()).toEqual([{ consumer: 'slow', index: 2, bytesBehind: 4 * sizes, ageMs: 4000 }])
    await settled()
    expect(store.log.consumers()).toEqual([{ consumer: 'slow', index: 2, bytesBehind: 2 * sizes, ageMs: 2000 }])
  })
})

describe('a store of format 1', () => {
  /** What version 1 wrote: rows without a time, and its number in the head. */
  async function asFormat1(disk: Engine) {
    for (const [key, value] of await entries(disk, LOG)) {
      const row = Buffer.concat([Buffer.from(value).subarray(0, 38), Buffer.from(value).subarray(44)])
      await disk.write([{ type: 'put', key, value: row }])
    }
    const head = Buffer.from((await disk.get(HEAD))!)
    head[0] = 1
    await disk.write([{ type: 'put', key: HEAD, value: head }])
  }

  test('keeps data, index and place, and gives up its rows', async () => {
    const disk = memoryEngine()
    const former = await open(disk)
    await write(former, 5)
    await former.put('local/kv/b', bytes('2'))
    await former.log.startEpoch(3)
    former.log.retain('a', 2)
    await former.log.trim()
    await asFormat1(disk)

    const store = await open(disk)
    expect(store.log.head()).toEqual(former.log.head())
    expect(rootOf(store.forest)).toBe(rootOf(former.forest))
    expect(text(await store.get('local/kv/b'))).toBe('2')
    expect(store.log.oldest()).toBe(7)
    expect(store.log.bytes()).toBe(0)
    // Who has everything streams on, everybody else compares.
    expect(await store.log.digestAt(6)).toEqual(former.log.head().digest)
    expect(await store.log.digestAt(5)).toBeUndefined()
    await expect(store.log.read(2, 1e6)).rejects.toMatchObject({ code: 'REPLICATION_LOG_TRIMMED' })
    await store.log.trim()
    expect(await entries(disk, LOG)).toEqual([])

    await write(store, 2)
    await checkDisk(disk)
    const again = await open(disk)
    expect((await again.log.read(6, 1e6)).map(({ index }) => index)).toEqual([7, 8])
    expect((await again.verify()).total).toBe(0)
  })
})

describe('a store that is opened to read, beside the node that writes', () => {
  const contents = async (disk: Engine) => new Map(await entries(disk, ''))

  test('leaves an empty storage to whoever makes it', async () => {
    const disk = memoryEngine()
    const reader = await open(disk, { readOnly: true })
    expect(reader.log.head().index).toBe(0)
    expect(await entries(disk, '')).toEqual([])
    const store = await open(disk)
    await write(store, 2)
    expect(text(await reader.get('kv/a'))).toBe('1')
  })

  test('moves no end of the log, however old its records grow', async () => {
    const disk = memoryEngine()
    const time = manualTime()
    const options = { runtime: time.runtime, logMaxAgeMs: HOUR }
    const store = await open(disk, options)
    await write(store, 3)
    const reader = await open(disk, { ...options, readOnly: true })
    await store.close()
    const before = await contents(disk)
    for (let hour = 0; hour < 30; hour++) {
      time.pass(HOUR)
      await reader.log.trim()
    }
    expect(await contents(disk)).toEqual(before)
  })

  test('deletes no rubbish, and rejects what would change anything', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await write(store, 3)
    const rubbish = (await entries(disk, LOG))[0]!
    store.log.retain('a', 2)
    await store.log.trim()
    await store.close()
    await disk.write([{ type: 'put', key: rubbish[0], value: rubbish[1] }])
    const before = await contents(disk)
    const time = manualTime()
    const reader = await open(disk, { readOnly: true, runtime: time.runtime })
    time.pass(HOUR)
    await reader.log.trim()
    const refused = { code: 'REPLICATION_READ_ONLY' }
    await expect(reader.put('kv/a', bytes('x'))).rejects.toMatchObject(refused)
    await expect(reader.put('ignored/a', bytes('x'))).rejects.toMatchObject(refused)
    await expect(reader.log.startEpoch(7)).rejects.toMatchObject(refused)
    expect(await contents(disk)).toEqual(before)
  })
})
