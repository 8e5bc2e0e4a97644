import { keyIdOf } from '@lockstep/replication'
import { memoryEngine, memoryStore, transact } from '@lockstep/storage'
import { describe, expect, test } from 'vitest'
import { type KeyClass, loggedStore } from '../src/index.ts'
import { bytes, checkDisk, classify, faultyEngine, open, rootOf, text } from './fixture.ts'

describe('commits', () => {
  test('one record per transaction, with class tags and without ignored keys', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await transact(store, async (transaction) => {
      await transaction.put('kv/a', bytes('1'))
      await transaction.put('local/kv/b', bytes('2'))
      await transaction.put('ignored/c', bytes('3'))
    })
    await store.delete('kv/a')
    const [first, second, ...others] = await store.log.read(0, 1e6)
    expect(others).toEqual([])
    expect(first).toMatchObject({
      epoch: 1,
      index: 1,
      operations: [
        { partition: { class: 'replicated', mount: 'kv' }, mountPath: 'kv/', key: 'kv/a', value: bytes('1') },
        { partition: { class: 'local', mount: 'kv' }, key: 'local/kv/b' },
      ],
    })
    expect(second!.operations).toEqual([
      { partition: { class: 'replicated', mount: 'kv' }, mountPath: 'kv/', key: 'kv/a', value: undefined },
    ])
    expect(store.forest.partitions()).toEqual(['local/kv'])
    expect(text(await store.get('ignored/c'))).toBe('3')
    expect(rootOf(await checkDisk(disk))).toBe(rootOf(store.forest))
  })

  test('what changes nothing is not logged', async () => {
    const store = await open(memoryEngine())
    await store.delete('kv/absent')
    await store.put('ignored/x', bytes('1'))
    expect(store.log.head().index).toBe(0)
    await store.put('kv/a', bytes('1'))
    await store.put('kv/a', bytes('1'))
    expect(store.log.head().index).toBe(1)
  })

  test('writes of one key in one group collapse to one index row', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await Promise.all([store.put('kv/a', bytes('1')), store.put('kv/a', bytes('2')), store.delete('kv/b')])
    await Promise.all([store.put('kv/b', bytes('1')), store.delete('kv/b'), store.delete('kv/b')])
    expect(store.log.head().index).toBe(4)
    expect(store.forest.count('replicated/kv')).toBe(1)
    expect(rootOf(await checkDisk(disk))).toBe(rootOf(store.forest))
  })

  test('a key that changes partition leaves its former one', async () => {
    const disk = memoryEngine()
    let mount: KeyClass = { class: 'local', mount: 'core', mountPath: '' }
    const store = await open(disk, { classify: () => mount })
    await store.put('kv/a', bytes('1'))
    mount = { class: 'replicated', mount: 'kv', mountPath: 'kv/' }
    await store.put('kv/a', bytes('2'))
    expect(store.forest.partitions()).toEqual(['replicated/kv'])
    const [, moved] = await store.log.read(0, 1e6)
    expect(moved!.operations).toEqual([
      { partition: { class: 'local', mount: 'core' }, mountPath: '', key: 'kv/a', value: undefined },
      { partition: { class: 'replicated', mount: 'kv' }, mountPath: 'kv/', key: 'kv/a', value: bytes('2') },
    ])
    mount = { class: 'ignored' }
    await store.put('kv/a', bytes('3'))
    expect(store.forest.partitions()).toEqual([])
    expect(text(await store.get('kv/a'))).toBe('3')
    expect(store.log.head().index).toBe(3)
  })

  test('listeners hear of durable commits, and their failures stay theirs', async () => {
    const store = await open(memoryEngine())
    const heard: unknown[] = []
    store.onChanged(() => {
      throw new Error('listener')
    })
    const stop = store.onChanged((keys, source) => heard.push([keys, source]))
    store.log.onAppend((head) => heard.push(head.index))
    await store.put('kv/a', bytes('1'))
    await store.apply(
      [{ partition: { class: 'replicated', mount: 'kv' }, mountPath: 'kv/', key: 'kv/b', value: bytes('2') }],
      new Map([['ignored/cursor', bytes('7')]]),
    )
    stop()
    await store.put('kv/c', bytes('1'))
    expect(heard).toEqual([[['kv/a'], 'own'], 1, [['kv/b', 'ignored/cursor'], 'upstream'], 2, 3])
  })

  test('works on a physical Store too, and leaves it open', async () => {
    const physical = memoryStore()
    const store = await loggedStore(physical, { classify, writable: () => true, keepLog: () => true })
    await store.put('kv/a', bytes('1'))
    await store.close()
    await expect(store.get('kv/a')).rejects.toMatchObject({ code: 'STORAGE_CLOSED' })
    expect(text(await physical.get('d/kv/a'))).toBe('1')
  })
})

describe('limits', () => {
  test('read-only classes are refused when written, and again when committed', async () => {
    let primary = false
    const store = await open(memoryEngine(), { writable: (keyClass) => primary || keyClass.class !== 'replicated' })
    const refused = { code: 'REPLICATION_READ_ONLY', message: 'cannot write to readonly storage' }
    await expect(store.put('kv/a', bytes('1'))).rejects.toMatchObject(refused)
    await expect(store.delete('kv/a')).rejects.toMatchObject(refused)
    const transaction = await store.begin()
    await expect(transaction.put('kv/a', bytes('1'))).rejects.toMatchObject(refused)
    await transaction.put('local/kv/a', bytes('1'))
    primary = true
    await transaction.put('kv/a', bytes('1'))
    primary = false
    await expect(transaction.commit()).rejects.toMatchObject(refused)
    await transaction.abort()
    expect(store.log.head().index).toBe(0)
    await store.put('local/kv/a', bytes('1'))
  })

  test('a transaction no record could hold is refused', async () => {
    const store = await open(memoryEngine(), { maxCommitBytes: 10_000 })
    const transaction = await store.begin()
    await transaction.put('kv/a', new Uint8Array(6000))
    await transaction.put('ignored/a', new Uint8Array(20_000))
    await expect(transaction.put('kv/b', new Uint8Array(6000))).rejects.toMatchObject({ code: 'REPLICATION_TOO_LARGE' })
    await expect(store.put('kv/a', new Uint8Array(20_000))).rejects.toMatchObject({ code: 'REPLICATION_TOO_LARGE' })
    await transaction.commit()
  })
})

describe('upstream entries', () => {
  const entry = (mount: string, key: string, value: string | undefined) => ({
    partition: { class: 'replicated' as const, mount },
    mountPath: `${mount}/`,
    key,
    value: value === undefined ? undefined : bytes(value),
  })

  test('keep the tag they came with, in one record, bypassing writable', async () => {
    const disk = memoryEngine()
    const store = await open(disk, { writable: () => false })
    await store.apply([entry('m1', 'x/a', '1'), entry('m1', 'x/b', '2')], new Map([['ignored/cursor', bytes('9')]]))
    expect(store.forest.partitions()).toEqual(['replicated/m1'])
    expect(store.log.head().index).toBe(1)
    expect(text(await store.get('ignored/cursor'))).toBe('9')
    const reopened = await open(disk)
    expect(rootOf(reopened.forest)).toBe(rootOf(store.forest))
    expect((await reopened.verify()).total).toBe(0)
  })

  test('a deletion from a partition that does not hold the key is skipped', async () => {
    const store = await open(memoryEngine())
    await store.apply([entry('new', 'x/a', '1'), entry('old', 'x/a', undefined)], new Map())
    expect(text(await store.get('x/a'))).toBe('1')
    await store.apply([entry('old', 'x/a', undefined)], new Map())
    expect(text(await store.get('x/a'))).toBe('1')
    await store.apply([entry('new', 'x/a', undefined)], new Map())
    expect(await store.get('x/a')).toBeUndefined()
    expect(store.forest.partitions()).toEqual([])
  })

  test('only ignored keys go beside them', async () => {
    const store = await open(memoryEngine())
    await expect(store.apply([], new Map([['kv/a', bytes('1')]]))).rejects.toMatchObject({
      code: 'REPLICATION_INVALID',
    })
  })

  test('a commit at the same time keeps its own tag', async () => {
    const store = await open(memoryEngine())
    await Promise.all([
      store.put('a/own', bytes('1')),
      store.apply([entry('m1', 'a/upstream', '1')], new Map()),
      store.put('a/own2', bytes('1')),
    ])
    expect(store.forest.count('replicated/a')).toBe(2)
    expect(store.forest.count('replicated/m1')).toBe(1)
  })
})

describe('reads by key id', () => {
  test('keys and entries, in order, with holes', async () => {
    const store = await open(memoryEngine())
    await store.put('kv/a', bytes('1'))
    await store.put('kv/b', bytes('2'))
    const ids = ['kv/b', 'kv/none', 'kv/a'].map(keyIdOf)
    expect(await store.keysOf('replicated/kv', ids)).toEqual(['kv/b', undefined, 'kv/a'])
    const found = await store.readEntries('replicated/kv', ids)
    expect(found.map((entry) => entry && [entry.key, text(entry.value)])).toEqual([
      ['kv/b', '2'],
      undefined,
      ['kv/a', '1'],
    ])
    expect(await store.readEntries('local/kv', ids)).toEqual([undefined, undefined, undefined])
  })

  test('a whole partition is deleted in bounded commits', async () => {
    const disk = memoryEngine()
    const store = await open(disk)
    await transact(store, async (transaction) => {
      for (let i = 0; i < 600; i++) await transaction.put(`gone/${i}`, bytes(String(i)))
    })
    await store.put('kv/stays', bytes('1'))
    expect(await store.deletePartition('replicated/gone', 'gone/')).toBe(600)
    expect(store.forest.partitions()).toEqual(['replicated/kv'])
    expect(await store.list('')).toEqual(['kv/'])
    expect(store.log.head().index).toBe(5)
    expect(rootOf(await checkDisk(disk))).toBe(rootOf(store.forest))
    await expect(store.deletePartition('nonsense', '')).rejects.toMatchObject({ code: 'REPLICATION_INVALID' })
  })
})

describe('failed writes', () => {
  test('a group that was not stored gives its indexes back', async () => {
    const { disk, engine, failNext } = faultyEngine()
    const store = await open(engine)
    await store.put('kv/a', bytes('1'))
    const root = rootOf(store.forest)
    failNext(false)
    await expect(store.put('kv/a', bytes('2'))).rejects.toThrow('disk failed')
    expect(rootOf(store.forest)).toBe(root)
    expect(text(await store.get('kv/a'))).toBe('1')
    await store.put('kv/b', bytes('3'))
    expect(store.log.head().index).toBe(2)
    expect(rootOf(await checkDisk(disk))).toBe(rootOf(store.forest))
  })

  test('a group that was stored after all is taken over before the next', async () => {
    const { disk, engine, failNext } = faultyEngine()
    const store = await open(engine)
    await store.put('kv/a', bytes('1'))
    await store.get('kv/a')
    const heard: unknown[] = []
    store.onChanged((keys) => heard.push(keys))
    failNext(true)
    await expect(store.put('kv/a', bytes('2'))).rejects.toThrow('disk failed')
    expect(text(await store.get('kv/a'))).toBe('2')
    await store.put('kv/b', bytes('3'))
    expect(heard).toEqual([['kv/a'], ['kv/b']])
    expect(store.log.head().index).toBe(3)
    expect(rootOf(await checkDisk(disk))).toBe(rootOf(store.forest))
  })

  test('a head that someone else moved fences this store off', async () => {
    const { disk, engine, failNext } = faultyEngine()
    const store = await open(engine)
    await store.put('kv/a', bytes('1'))
    const other = await open(disk)
    await other.put('kv/a', bytes('other'))
    failNext(false)
    await expect(store.put('kv/a', bytes('2'))).rejects.toThrow('disk failed')
    await expect(store.put('kv/a', bytes('3'))).rejects.toMatchObject({ code: 'REPLICATION_FENCED' })
    await expect(store.log.startEpoch(2)).rejects.toMatchObject({ code: 'REPLICATION_FENCED' })
    expect(text(await other.get('kv/a'))).toBe('other')
  })
})

describe('verify', () => {
  test('finds and repairs every kind of difference', async () => {
    const disk = memoryEngine()
    const first = await open(disk)
    for (const key of ['kv/row-gone', 'kv/data-gone', 'kv/changed', 'kv/fine']) await first.put(key, bytes('1'))
    const rows: string[] = []
    for await (const [row, value] of disk.scan({ prefix: 'i/' })) {
      if (Buffer.from(value).includes('kv/row-gone')) rows.push(row)
    }
    await disk.write([
      { type: 'delete', key: rows[0]! },
      { type: 'delete', key: 'd/kv/data-gone' },
      { type: 'put', key: 'd/kv/changed', value: bytes('2') },
    ])
    const store = await open(disk)
    const report = await store.verify()
    expect(report).toMatchObject({ keys: 3, total: 3, repaired: 0 })
    expect(report.differences.map(({ key, problem }) => [key, problem]).sort()).toEqual([
      ['kv/changed', 'mismatch'],
      ['kv/data-gone', 'stray'],
      ['kv/row-gone', 'missing'],
    ])
    expect((await store.verify({ repair: true })).total).toBe(3)
    expect((await store.verify()).total).toBe(0)
    expect(rootOf(await checkDisk(disk))).toBe(rootOf(store.forest))
  })

  test('writes in between are no differences', async () => {
    const store = await open(memoryEngine())
    for (let i = 0; i < 200; i++) await store.put(`kv/${i}`, bytes('1'))
    let running = true
    const writer = (async () => {
      for (let i = 0; running; i++) {
        await store.put(`kv/${i % 250}`, bytes(`x${i}`))
        await store.delete(`kv/${(i * 7) % 250}`)
      }
    })()
    for (let i = 0; i < 5; i++) expect((await store.verify()).differences).toEqual([])
    running = false
    await writer
  })
})
