import type { Cursor, WalRecord } from '@lockstep/replication'
import { memoryEngine, transact } from '@lockstep/storage'
import { describe, expect, test } from 'vitest'
import { bytes, entries, open, text } from '../test/fixture.ts'
import { type RecordsAfter, recordsAfter } from './divergence.ts'
import { LOG } from './layout.ts'
import type { LoggedStore } from './logged-store.ts'

const all = async (found: RecordsAfter): Promise<WalRecord[]> => {
  const records: WalRecord[] = []
  for await (const record of found.records()) records.push(record)
  return records
}

const found = async (store: LoggedStore, cursor: Cursor): Promise<RecordsAfter> => {
  const result = await recordsAfter(store.log, cursor)
  if (typeof result === 'string') throw new Error(`expected records, got ${result}`)
  return result
}

describe('what a returning primary had and the others did not get', () => {
  test('its records after the cursor, with partitions, values and deletions', async () => {
    const store = await open(memoryEngine())
    await store.put('kv/a', bytes('1'))
    await store.put('kv/b', bytes('1'))
    const cursor = store.log.head()
    await transact(store, async (transaction) => {
      await transaction.put('kv/a', bytes('2'))
      await transaction.put('local/kv/c', bytes('2'))
      await transaction.delete('kv/b')
    })
    await store.put('pki/d', bytes('3'))

    const lost = await found(store, cursor)
    expect(lost).toMatchObject({ after: cursor, head: store.log.head(), count: 2 })
    const operations = (await all(lost)).map((record) =>
      record.operations.map(({ partition, key, value }) => [partition.class, partition.mount, key, text(value)]),
    )
    expect(operations).toEqual([
      [
        ['replicated', 'kv', 'kv/a', '2'],
        ['local', 'kv', 'local/kv/c', '2'],
        ['replicated', 'kv', 'kv/b', undefined],
      ],
      [['replicated', 'pki', 'pki/d', '3']],
    ])
    // Once more.
    expect((await all(lost)).length).toBe(2)
  })

  test('nothing when the cursor is the head, and never what was logged after the question', async () => {
    const store = await open(memoryEngine())
    await store.put('kv/a', bytes('1'))
    const cursor = store.log.head()
    const none = await found(store, cursor)
    expect(none.count).toBe(0)
    await store.put('kv/a', bytes('2'))
    const one = await found(store, cursor)
    await store.put('kv/a', bytes('3'))
    expect(await all(none)).toEqual([])
    expect((await all(one)).map(({ index }) => index)).toEqual([2])
  })

  test('from the disk in pieces, after a restart', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    const start = store.log.head()
    for (let i = 0; i < 40; i++) await store.put(`kv/${i}`, new Uint8Array(100_000))
    await store.log.startEpoch(3)
    const reopened = await open(disk, { tailBytes: 0 })
    expect((await all(await found(reopened, start))).map(({ index }) => index)).toEqual(
      Array.from({ length: 40 }, (_, at) => at + 1),
    )
  })
})

describe('when nothing can be said', () => {
  test('trimmed: the log no longer reaches back to the cursor', async () => {
    const store = await open(memoryEngine())
    const start = store.log.head()
    for (let i = 0; i < 10; i++) await store.put('kv/a', bytes(String(i)))
    store.log.retain('consumer', 5)
    await store.log.trim()
    expect(await recordsAfter(store.log, start)).toBe('trimmed')
    const digest = (await store.log.digestAt(5))!
    expect((await found(store, { epoch: 1, index: 5, digest })).count).toBe(5)
  })

  test('trimmed while it is iterated: an error, never a gap', async () => {
    const store = await open(memoryEngine(), { tailBytes: 0 })
    const start = store.log.head()
    for (let i = 0; i < 10; i++) await store.put('kv/a', bytes(String(i)))
    const lost = await found(store, start)
    store.log.retain('consumer', 5)
    await store.log.trim()
    await expect(all(lost)).rejects.toMatchObject({ code: 'REPLICATION_LOG_TRIMMED' })
  })

  test('unknown: another history, a place beyond the head, a later epoch', async () => {
    const store = await open(memoryEngine())
    const other = await open(memoryEngine())
    await store.put('kv/a', bytes('1'))
    await other.put('kv/a', bytes('1'))
    const head = store.log.head()
    expect(await recordsAfter(store.log, other.log.head())).toBe('unknown')
    expect(await recordsAfter(store.log, { ...head, index: head.index + 1 })).toBe('unknown')
    expect(await recordsAfter(store.log, { ...head, epoch: head.epoch + 1 })).toBe('unknown')
  })

  test('corrupt: records that do not lead to the head', async () => {
    const disk = memoryEngine()
    const store = await open(disk, { tailBytes: 0 })
    const start = store.log.head()
    await store.put('kv/a', bytes('one value'))
    const [row] = await entries(disk, LOG)
    const changed = Buffer.from(row![1])
    changed[changed.length - 1]! ^= 1
    await disk.write([{ type: 'put', key: row![0], value: changed }])
    await expect(all(await found(store, start))).rejects.toMatchObject({ code: 'REPLICATION_CORRUPT' })
  })
})
