import { keyIdOf, partitionId } from '@lockstep/replication'
import { memoryEngine, transact } from '@lockstep/storage'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { LoggedStore } from '../src/index.ts'
import { DATA } from '../src/layout.ts'
import { bytes, checkDisk, entries, faultyEngine, open, rootOf, text } from './fixture.ts'
import { history } from './history.ts'

describe('a crash at any physical write', () => {
  test.each([false, true])('loses nothing acknowledged and leaves no half group (write stored: %s)', async (stored) => {
    const whole = faultyEngine()
    await history(await open(whole.engine), () => {})
    const writes = whole.writes()
    expect(writes).toBeGreaterThan(10)
    for (let at = 1; at <= writes; at++) {
      const { disk, engine, failAt } = faultyEngine()
      failAt(at, stored)
      const model = new Map<string, string | undefined>()
      const run = async () => history(await open(engine), (key, value) => model.set(key, value))
      await expect(run()).rejects.toThrow()
      const after = await open(disk)
      expect(rootOf(await checkDisk(disk))).toBe(rootOf(after.forest))
      // The group in flight may be there, whole; whatever was acknowledged before must be, unless it overwrote that.
      const inFlight = new Set(
        stored ? ['kv/a', 'kv/b', 'kv/d', 'kv/e', 'local/kv/c', 'up/a', 'ignored/a', 'ignored/cursor'] : [],
      )
      for (const [key, value] of model)
        if (!inFlight.has(key)) expect([key, text(await after.get(key))]).toEqual([key, value])
      // All or nothing of the transaction.
      if (!model.has('kv/d')) {
        const seen = [await after.get('kv/b'), await after.get('local/kv/c')].map(text)
        expect([
          ['2', '2'],
          [undefined, undefined],
        ]).toContainEqual(seen)
        if (seen[0] !== undefined) expect(await after.get('kv/a')).toBeUndefined()
      }
      await after.put('kv/z', bytes('9'))
      expect(rootOf(await checkDisk(disk))).toBe(rootOf(after.forest))
    }
  })
})

const keys = ['a', 'b', 'kv/a', 'kv/b', 'kv/c', 'pki/a', 'pki/b', 'local/kv/a', 'local/pki/b', 'ignored/a']
const key = fc.constantFrom(...keys)
const value = fc.option(fc.integer({ min: 0, max: 9 }).map(String), { nil: undefined, freq: 3 })
const upstream = fc.record({
  mount: fc.constantFrom('kv', 'pki', 'up'),
  key: fc.constantFrom('kv/a', 'up/a', 'up/b', 'pki/a'),
  value,
})
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('commit' as const),
      writes: fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('group' as const),
      writes: fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('apply' as const),
      entries: fc.array(upstream, { minLength: 1, maxLength: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('trim' as const), behind: fc.integer({ min: 0, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('epoch' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('keep' as const), on: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('fault' as const),
      stored: fc.boolean(),
      writes: fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 3 }),
    }),
  },
)

const put = (store: LoggedStore, key: string, value: string | undefined) =>
  value === undefined ? store.delete(key) : store.put(key, bytes(value))

const write = (store: LoggedStore, writes: readonly (readonly [string, string | undefined])[]) =>
  transact(store, async (transaction) => {
    for (const [key, value] of writes) {
      if (value === undefined) await transaction.delete(key)
      else await transaction.put(key, bytes(value))
    }
  })

test('data, log, index and forest agree after any history', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.constantFrom(0, 300, 1e6), async (steps, tailBytes) => {
      const { disk, engine, failNext } = faultyEngine()
      let keep = true
      const reopen = () => open(engine, { tailBytes, cacheBytes: 4000, keepLog: () => keep })
      let store = await reopen()
      const model = new Map<string, string>()
      const set = (key: string, value: string | undefined) => {
        if (value === undefined) model.delete(key)
        else model.set(key, value)
      }
      for (const action of steps) {
        if (action.do === 'commit') {
          await write(store, action.writes)
          for (const [key, value] of action.writes) set(key, value)
        } else if (action.do === 'group') {
          await Promise.all(action.writes.map(([key, value]) => put(store, key, value)))
          for (const [key, value] of action.writes) set(key, value)
        } else if (action.do === 'apply') {
          for (const { mount, key, value } of action.entries) {
            const partition = { class: 'replicated' as const, mount }
            const owner = store.forest.partitions().find((id) => store.forest.get(id, keyIdOf(key)))
            await store.apply(
              [{ partition, mountPath: `${mount}/`, key, value: value === undefined ? undefined : bytes(value) }],
              new Map(),
            )
            if (value !== undefined || owner === partitionId(partition)) set(key, value)
          }
        } else if (action.do === 'reopen') {
          await store.close()
          store = await reopen()
        } else if (action.do === 'trim') {
          const acknowledged = store.log.head().index - action.behind
          store.log.retain('consumer', acknowledged)
          await store.log.trim()
          expect(store.log.oldest()).toBeGreaterThan(acknowledged)
        } else if (action.do === 'epoch') {
          await store.log.startEpoch(store.log.head().epoch + 1)
        } else if (action.do === 'keep') {
          keep = action.on
        } else {
          failNext(action.stored)
          await expect(write(store, action.writes)).rejects.toThrow('disk failed')
          if (action.stored) for (const [key, value] of action.writes) set(key, value)
        }
        for (const key of keys) expect([key, text(await store.get(key))]).toEqual([key, model.get(key)])
      }
      // Settles a group in doubt, if the last step left one.
      await store.put('a', bytes('end'))
      model.set('a', 'end')
      const root = rootOf(await checkDisk(disk))
      expect(rootOf(store.forest)).toBe(root)
      expect((await store.verify()).differences).toEqual([])
      const { log } = store
      const records = await log.read(log.oldest() - 1, 1e9)
      expect(records.map(({ index }) => index)).toEqual(records.map((_, at) => log.oldest() + at))
      if (records.length > 0) expect(records.at(-1)!.index).toBe(log.head().index)
      const reopened = await open(disk)
      expect(rootOf(reopened.forest)).toBe(root)
      expect(reopened.log.head()).toEqual(log.head())
      expect(await reopened.log.read(log.oldest() - 1, 1e9)).toEqual(records)
      const stored = (await entries(disk, DATA)).map(([key, value]) => [key.slice(DATA.length), text(value)])
      expect(new Map(stored as [string, string][])).toEqual(model)
    }),
    { numRuns: process.env.SLOW ? 3000 : 200 },
  )
})

test("replaying one cluster's log into another gives the same forest", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 4 }), { maxLength: 30 }),
      async (commits) => {
        const primary = await open(memoryEngine())
        const secondary = await open(memoryEngine(), { writable: () => false })
        for (const writes of commits) await write(primary, writes)
        for (const record of await primary.log.read(0, 1e9)) {
          await secondary.apply(record.operations, new Map([['ignored/cursor', bytes(String(record.index))]]))
        }
        expect(rootOf(secondary.forest)).toBe(rootOf(primary.forest))
      },
    ),
    { numRuns: 50 },
  )
})
