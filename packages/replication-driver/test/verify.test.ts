import { keyIdOf } from '@lockstep/replication'
import { type Engine, memoryEngine } from '@lockstep/storage'
import { describe, expect, test } from 'vitest'
import type { IndexReport, LoggedStore } from '../src/index.ts'
import { scrub } from '../src/index.ts'
import { DATA, INDEX } from '../src/layout.ts'
import { systemRuntime } from '../src/runtime.ts'
import { bytes, checkDisk, entries, open, rootOf, text } from './fixture.ts'
import { replicate } from './replication-fixture.ts'

async function flip(disk: Engine, key: string) {
  const value = Buffer.from((await disk.get(DATA + key))!)
  value[value.length >> 1]! ^= 0x10
  await disk.write([{ type: 'put', key: DATA + key, value }])
}

async function rowOf(disk: Engine, key: string): Promise<string> {
  const id = Buffer.from(keyIdOf(key)).toString('hex')
  return (await entries(disk, INDEX)).map(([row]) => row).find((row) => row.endsWith(id))!
}

const fill = async (store: LoggedStore, count: number) => {
  for (let i = 0; i < count; i++) await store.put(i % 3 === 0 ? `local/kv/${i}` : `kv/${i}`, bytes(`value ${i}`))
}

describe('verify', () => {
  test('tells roots and pages by class', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await fill(store, 600)
    const sound = await store.verify()
    expect(sound).toMatchObject({ keys: 600, total: 0, repaired: 0 })
    for (const name of ['replicated', 'local'] as const) {
      const { root, dataRoot, ...rest } = sound.classes[name]
      expect(root).toEqual(dataRoot)
      expect(root).toEqual(store.forest.composedRoot((id) => id.startsWith(`${name}/`)))
      expect(rest).toEqual({ corrupted: false, pages: [], keys: name === 'local' ? 200 : 400 })
    }

    await flip(disk, 'kv/7')
    await flip(disk, 'kv/200')
    const live = store.forest.composedRoot((id) => id.startsWith('replicated/'))
    const report = await store.verify()
    expect(report).toMatchObject({ total: 2, repaired: 0 })
    expect(report.classes.local).toEqual(sound.classes.local)
    const { pages, root, dataRoot, corrupted } = report.classes.replicated
    expect(corrupted).toBe(true)
    expect(root).toEqual(live)
    expect(dataRoot).not.toEqual(live)
    const places = ['kv/7', 'kv/200'].map((key) => keyIdOf(key)).sort((a, b) => a[0]! - b[0]!)
    expect(pages).toEqual(places.map((keyId) => ({ page: keyId[0], subpages: [keyId[1]] })))
  })

  test('repairs only what it may', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await fill(store, 30)
    await flip(disk, 'kv/7')
    await flip(disk, 'local/kv/3')
    await disk.write([{ type: 'delete', key: await rowOf(disk, 'local/kv/9') }])
    const report = await store.verify({ repair: (partition) => partition.startsWith('replicated/') })
    expect(report).toMatchObject({ total: 3, repaired: 1 })
    const left = await store.verify({ repair: true })
    expect(left.differences.map(({ key, problem }) => [key, problem]).sort()).toEqual([
      ['local/kv/3', 'mismatch'],
      ['local/kv/9', 'missing'],
    ])
    expect(left.repaired).toBe(2)
    expect(rootOf(await checkDisk(disk))).toBe(rootOf(store.forest))
  })

  test('a leaf that only memory has, whose key nobody knows', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await fill(store, 30)
    await disk.write([
      { type: 'delete', key: `${DATA}kv/7` },
      { type: 'delete', key: await rowOf(disk, 'kv/7') },
    ])
    const report = await store.verify({ repair: true })
    expect(report.differences).toEqual([{ partition: 'replicated/kv', key: '', problem: 'memory' }])
    expect(report.classes.replicated.pages).toEqual([{ page: keyIdOf('kv/7')[0], subpages: [keyIdOf('kv/7')[1]] }])
    expect((await store.verify()).total).toBe(0)
    expect(rootOf(await checkDisk(disk))).toBe(rootOf(store.forest))
  })

  test('under writes it finds the damage and nothing else, and commits hardly wait', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await fill(store, 3000)
    await flip(disk, 'kv/1000')
    await flip(disk, 'local/kv/1500')
    let running = true
    let writes = 0
    const writer = (async () => {
      for (let i = 0; running; i++) {
        // Around what is damaged, never on it.
        const key = (i * 7) % 999
        await store.put(`kv/${key}`, bytes(`x${i}`))
        if (i % 5 === 0) await store.delete(`kv/${(i * 11) % 999}`)
        if (i % 7 === 0) await store.put(`kv/late/${i}`, bytes('new'))
        writes++
      }
    })()
    for (let i = 0; i < 3; i++) {
      const before = writes
      const report = await store.verify()
      expect(report.differences.map(({ key }) => key).sort()).toEqual(['kv/1000', 'local/kv/1500'])
      expect(writes - before).toBeGreaterThan(10)
    }
    running = false
    await writer
    expect((await store.verify({ repair: true })).repaired).toBe(2)
    expect(rootOf(await checkDisk(disk))).toBe(rootOf(store.forest))
  })

  test('keeps to the pace, tells its progress, and stops when told', async () => {
    const disk = memoryEngine()
    let now = 0
    const store = await open(disk, {
      runtime: {
        ...systemRuntime,
        now: () => now,
        after(ms, run) {
          // The log's own timers are hours away.
          if (ms > 10_000) return () => {}
          now += ms
          setImmediate(run)
          return () => {}
        },
      },
    })
    await fill(store, 1000)
    const progress: number[] = []
    const started = now
    await store.verify({ pace: { keysPerSecond: 500 }, onProgress: (keys) => progress.push(keys) })
    expect(progress).toEqual([256, 512, 768, 1000])
    // Data, then as many index rows.
    expect(now - started).toBe(4000)

    const stop = new AbortController()
    const stopped = store.verify({ signal: stop.signal, onProgress: () => stop.abort(new Error('enough')) })
    await expect(stopped).rejects.toThrow('enough')
  })
})

describe('scrub', () => {
  /** Passes of a scrub that follow each other at once. */
  function passes(components: Omit<Parameters<typeof scrub>[0], 'onReport'>) {
    const reports: IndexReport[] = []
    let wake = () => {}
    const handle = scrub(
      {
        ...components,
        onReport(report) {
          reports.push(report)
          wake()
        },
      },
      { intervalMs: 1, keysPerSecond: 1e9 },
    )
    const next = async () => {
      const { length } = reports
      while (reports.length === length) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      return reports.at(-1)!
    }
    return { next, close: handle.close }
  }

  test('a primary only reports: what is damaged there has no second copy', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await fill(store, 50)
    const root = rootOf(store.forest)
    await flip(disk, 'kv/7')
    const { next, close } = passes({ store })
    expect(await next()).toMatchObject({ total: 1, repaired: 0 })
    expect(await next()).toMatchObject({ total: 1, repaired: 0 })
    await close()
    expect(rootOf(store.forest)).toBe(root)
  })

  test('a flipped bit on a secondary is fetched again from the primary, online', async () => {
    const disk = memoryEngine()
    const primary = await open(memoryEngine())
    const secondary = await open(disk, {
      writable: (keyClass) => keyClass.class === 'local',
      keepLog: () => false,
      cacheBytes: 0,
    })
    await fill(primary, 200)
    await secondary.put('local/own/a', bytes('mine'))
    const replication = replicate({ primary, secondary, kind: 'performance' })
    await replication.settled()
    const { next, close } = passes({
      store: secondary,
      upstream: () => ({ classes: ['replicated'], compare: replication.follower.compare }),
    })
    expect((await next()).total).toBe(0)

    await flip(disk, 'kv/100')
    await flip(disk, 'local/own/a')
    let report = await next()
    // A pass that was under way may have read past the place.
    if (report.total === 0) report = await next()
    expect(report).toMatchObject({ repaired: 1 })
    while (text(await secondary.get('kv/100')) !== 'value 100') await next()
    await replication.settled()
    const after = await next()
    // What this cluster wrote itself stays reported.
    expect(after.differences).toEqual([{ partition: 'local/own', key: 'local/own/a', problem: 'mismatch' }])
    expect(after.classes.replicated.corrupted).toBe(false)
    expect(rootOf({ composedRoot: () => primary.forest.composedRoot((id) => id.startsWith('replicated/')) })).toBe(
      Buffer.from(after.classes.replicated.dataRoot).toString('hex'),
    )
    await close()
    await replication.close()
  })

  test('a pass that fails is told, and another follows', async () => {
    let calls = 0
    const failures: unknown[] = []
    const { next, close } = passes({
      store: {
        verify: (options) => {
          calls++
          return calls === 1 ? Promise.reject(new Error('disk')) : store.verify(options)
        },
      },
      onFailed: (error) => failures.push(error),
    })
    const store = await open(memoryEngine())
    expect((await next()).total).toBe(0)
    expect(failures).toHaveLength(1)
    await close()
  })
})
