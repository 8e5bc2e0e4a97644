import { describe, expect, test } from 'vitest'
import {
  type CommitHooks,
  type Engine,
  memoryEngine,
  optimisticStore,
  type Transaction,
  type WriteOperation,
} from '../src/index.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** An engine whose writes wait to be let through. */
function gatedEngine() {
  const engine = memoryEngine()
  const writes: { operations: readonly WriteOperation[]; finish(error?: Error): Promise<void> }[] = []
  const gated: Engine = {
    get: (key) => engine.get(key),
    getMany: (keys) => engine.getMany(keys),
    scan: (range) => engine.scan(range),
    write: (operations) =>
      new Promise((resolve, reject) => {
        writes.push({
          operations,
          finish: async (error) => {
            if (error !== undefined) reject(error)
            else await engine.write(operations).then(resolve)
            await turn()
            await turn()
          },
        })
      }),
    close: () => engine.close(),
  }
  return { engine: gated, writes }
}

const keysOf = (operations: readonly WriteOperation[]) => operations.map(({ key }) => key)

test('writes of one turn are one engine write; those that come meanwhile are the next', async () => {
  const { engine, writes } = gatedEngine()
  const store = optimisticStore(engine)
  const first = [store.put('a', bytes('1')), store.put('b', bytes('1')), store.delete('c')]
  await turn()
  await turn()
  const second = [store.put('d', bytes('1')), store.put('e', bytes('1'))]
  await turn()
  await turn()
  expect(writes.map(({ operations }) => keysOf(operations))).toEqual([['a', 'b', 'c']])
  await writes[0]!.finish()
  await Promise.all(first)
  expect(writes.map(({ operations }) => keysOf(operations))).toEqual([
    ['a', 'b', 'c'],
    ['d', 'e'],
  ])
  await writes[1]!.finish()
  await Promise.all(second)
})

test('maxGroup splits a queue', async () => {
  const { engine, writes } = gatedEngine()
  const store = optimisticStore(engine, { maxGroup: 2 })
  const puts = ['a', 'b', 'c', 'd', 'e'].map((key) => store.put(key, bytes('1')))
  for (let i = 0; i < 3; i++) {
    await turn()
    await turn()
    await writes[i]!.finish()
  }
  await Promise.all(puts)
  expect(writes.map(({ operations }) => operations.length)).toEqual([2, 2, 1])
})

describe('limits of an engine', () => {
  const limits = { valueBytes: 1000, commitBytes: 3000, groupBytes: 2000 }

  test('a group stays below what one request takes, and a commit above it goes alone', async () => {
    const { engine, writes } = gatedEngine()
    const store = optimisticStore({ ...engine, limits })
    expect(store.limits).toEqual(limits)
    const large = await store.begin()
    for (const key of ['l1', 'l2', 'l3']) await large.put(key, new Uint8Array(900))
    const all = [
      ...['a', 'b', 'c'].map((key) => store.put(key, new Uint8Array(800))),
      large.commit(),
      store.put('d', new Uint8Array(800)),
    ]
    for (let i = 0; i < 4; i++) {
      await turn()
      await turn()
      await writes[i]!.finish()
    }
    await Promise.all(all)
    expect(writes.map(({ operations }) => operations.map(({ key }) => key))).toEqual([
      ['a', 'b'],
      ['c'],
      ['l1', 'l2', 'l3'],
      ['d'],
    ])
  })

  test('what is too large is refused alone, and the rest of its turn is written', async () => {
    const { engine, writes } = gatedEngine()
    const store = optimisticStore({ ...engine, limits })
    const large = await store.begin()
    await large.get('a')
    for (const key of ['l1', 'l2', 'l3', 'l4']) await large.put(key, new Uint8Array(900))
    const outcomes = Promise.allSettled([
      store.put('a', bytes('1')),
      store.put('long', new Uint8Array(1001)),
      large.commit(),
      store.put('b', bytes('1')),
    ])
    await turn()
    await turn()
    await writes[0]!.finish()
    expect((await outcomes).map((outcome) => (outcome.status === 'rejected' ? outcome.reason.code : 'stored'))).toEqual(
      ['stored', 'STORAGE_TOO_LARGE', 'STORAGE_TOO_LARGE', 'stored'],
    )
    expect(writes.flatMap(({ operations }) => operations.map(({ key }) => key))).toEqual(['a', 'b'])
  })
})

test('a group over 8 MiB takes no more commits', async () => {
  const { engine, writes } = gatedEngine()
  const store = optimisticStore(engine)
  const puts = Array.from({ length: 10 }, (_, i) => store.put(`k${i}`, new Uint8Array(1024 * 1024)))
  await turn()
  await turn()
  await writes[0]!.finish()
  await writes[1]!.finish()
  await Promise.all(puts)
  expect(writes.map(({ operations }) => operations.length)).toEqual([8, 2])
})

test('nobody sees a group before it is durable', async () => {
  const { engine, writes } = gatedEngine()
  const store = optimisticStore(engine)
  const put = store.put('a', bytes('1'))
  await turn()
  await turn()
  expect(writes.length).toBe(1)
  expect(await store.get('a')).toBeUndefined()
  expect(await store.list('')).toEqual([])
  const transaction = await store.begin()
  let read: Uint8Array | undefined | 'waiting' = 'waiting'
  const reading = transaction.get('a').then((value) => {
    read = value
  })
  await turn()
  expect(read, 'the first read of a key under way waits for the outcome').toBe('waiting')
  await writes[0]!.finish()
  await Promise.all([put, reading])
  expect(read).toEqual(bytes('1'))
  await transaction.abort()
})

test('a value that the engine shows before its write is over is not mixed with an older read', async () => {
  const engine = memoryEngine()
  let finish = () => {}
  const early: Engine = {
    get: (key) => engine.get(key),
    getMany: (keys) => engine.getMany(keys),
    scan: (range) => engine.scan(range),
    write: async (operations) => {
      await engine.write(operations)
      await new Promise<void>((resolve) => {
        finish = resolve
      })
    },
    close: () => engine.close(),
  }
  const store = optimisticStore(early)
  const readers = await Promise.all([1, 2, 3, 4].map(() => store.begin()))
  for (const reader of readers) await reader.get('x')
  const put = store.put('y', bytes('new'))
  await turn()
  await turn()
  expect(await engine.get('y')).toEqual(bytes('new'))
  const scan = async () => {
    for await (const _ of readers[2]!.scan({ prefix: 'y' }));
  }
  const reads = [readers[0]!.get('y'), readers[1]!.getMany(['y']), scan(), readers[3]!.list('')]
  const outcomes = Promise.allSettled(reads)
  await turn()
  finish()
  await put
  for (const outcome of await outcomes) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'STORAGE_CONFLICT' } })
  }
})

test('a later commit of a group conflicts with an earlier one of the same group', async () => {
  const { engine, writes } = gatedEngine()
  const store = optimisticStore(engine)
  const [first, second, third] = [await store.begin(), await store.begin(), await store.begin()]
  await first.get('a')
  await first.put('a', bytes('first'))
  await second.get('a')
  await second.put('b', bytes('second'))
  await third.list('')
  await third.put('c', bytes('third'))
  const outcomes = Promise.allSettled([first.commit(), second.commit(), third.commit()])
  await turn()
  await turn()
  expect(keysOf(writes[0]!.operations)).toEqual(['a'])
  await writes[0]!.finish()
  expect(await outcomes).toMatchObject([
    { status: 'fulfilled' },
    { status: 'rejected', reason: { code: 'STORAGE_CONFLICT' } },
    { status: 'rejected', reason: { code: 'STORAGE_CONFLICT' } },
  ])
})

test('hooks: prepare sees the commits that do not conflict and adds to them and to the group', async () => {
  const { engine, writes } = gatedEngine()
  const calls: string[] = []
  const hooks: CommitHooks = {
    prepareGroup: async (commits) => {
      calls.push(`prepare ${commits.map(({ operations }) => keysOf(operations).join('+')).join(' ')}`)
      await turn()
      for (const [index, commit] of commits.entries()) {
        commit.operations.push({ type: 'put', key: `tag/${index}`, value: bytes('t') })
      }
      return [{ type: 'put', key: 'log/1', value: bytes('l') }]
    },
    committed: () => calls.push('committed'),
    failed: () => calls.push('failed'),
  }
  const store = optimisticStore(engine, { hooks })
  const conflicting = await store.begin()
  await conflicting.get('a')
  await conflicting.put('never', bytes('1'))
  const pair = await store.begin()
  await pair.put('x', bytes('1'))
  await pair.put('y', bytes('1'))
  const put = store.put('a', bytes('1')).then(() => calls.push('put resolved'))
  const outcome = expect(conflicting.commit()).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
  const commit = pair.commit().then(() => calls.push('commit resolved'))
  for (let i = 0; i < 4; i++) await turn()
  expect(keysOf(writes[0]!.operations)).toEqual(['a', 'tag/0', 'x', 'y', 'tag/1', 'log/1'])
  expect(calls).toEqual(['prepare a x+y'])
  await writes[0]!.finish()
  await Promise.all([put, commit, outcome])
  expect(calls.slice(0, 2)).toEqual(['prepare a x+y', 'committed'])
  expect(calls.length).toBe(4)
})

test('hooks: keys added by prepare conflict with transactions that read them', async () => {
  let adding: WriteOperation[] = []
  const store = optimisticStore(memoryEngine(), { hooks: { prepareGroup: () => adding } })
  const transaction = await store.begin()
  await transaction.get('head')
  await transaction.put('mine', bytes('1'))
  adding = [{ type: 'put', key: 'head', value: bytes('2') }]
  await store.put('a', bytes('1'))
  adding = []
  await expect(transaction.commit()).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
})

test('hooks: a refused group rejects all its commits, stores nothing, and the next group is written', async () => {
  const { engine, writes } = gatedEngine()
  const calls: string[] = []
  const hooks: CommitHooks = {
    prepareGroup: () => {
      calls.push('prepare')
      return []
    },
    committed: () => calls.push('committed'),
    failed: (error) => calls.push(`failed ${(error as Error).message}`),
  }
  const store = optimisticStore(engine, { hooks })
  const transaction = await store.begin()
  await transaction.put('b', bytes('1'))
  const outcomes = Promise.allSettled([store.put('a', bytes('1')), transaction.commit(), store.put('c', bytes('1'))])
  await turn()
  await turn()
  await writes[0]!.finish(new Error('disk full'))
  for (const outcome of await outcomes)
    expect(outcome).toMatchObject({ status: 'rejected', reason: { message: 'disk full' } })
  expect(await store.list('')).toEqual([])
  const later = store.put('later', bytes('1'))
  await turn()
  await turn()
  await writes[1]!.finish()
  await later
  expect(calls).toEqual(['prepare', 'failed disk full', 'prepare', 'committed'])
})

test('a group that is stored although its write failed is not overwritten by who read what was before', async () => {
  const engine = memoryEngine()
  let loseAnswer = true
  let lose = () => {}
  const losing: Engine = {
    get: (key) => engine.get(key),
    getMany: (keys) => engine.getMany(keys),
    scan: (range) => engine.scan(range),
    write: async (operations) => {
      if (!loseAnswer) return engine.write(operations)
      loseAnswer = false
      await new Promise<void>((resolve) => {
        lose = resolve
      })
      await engine.write(operations)
      throw new Error('the answer is lost')
    },
    close: () => engine.close(),
  }
  const store = optimisticStore(losing)
  const readers = await Promise.all([1, 2, 3, 4].map(() => store.begin()))
  const [point, lister, scanner, pending] = readers as [Transaction, Transaction, Transaction, Transaction]
  await point.get('a')
  await lister.list('')
  for await (const _ of scanner.scan());
  await pending.get('other')
  const lost = expect(store.put('a', bytes('lost'))).rejects.toThrow('the answer is lost')
  await turn()
  await turn()
  // Sees what is there before the write, and waits for the outcome.
  const read = expect(pending.get('a')).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
  await turn()
  lose()
  await Promise.all([lost, read])
  for (const reader of readers) {
    await reader.put('a', bytes('over it'))
    await expect(reader.commit()).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
  }
  expect(await store.get('a')).toEqual(bytes('lost'))
})

test('hooks: a prepare that throws fails the group before anything is written, and what it was for does not conflict', async () => {
  const failures: unknown[] = []
  let broken = true
  const hooks: CommitHooks = {
    prepareGroup: () => {
      if (broken) throw new Error('read only')
      return []
    },
    failed: (error) => failures.push(error),
  }
  const store = optimisticStore(memoryEngine(), { hooks })
  const reader = await store.begin()
  await reader.get('a')
  await reader.put('c', bytes('1'))
  await expect(store.put('a', bytes('1'))).rejects.toThrow('read only')
  expect(failures).toHaveLength(1)
  broken = false
  await store.put('b', bytes('1'))
  await reader.commit()
  expect(await store.list('')).toEqual(['b', 'c'])
})

test('a group in which everything conflicts is not written', async () => {
  const { engine, writes } = gatedEngine()
  let prepared = 0
  const prepareGroup = () => {
    prepared++
    return []
  }
  const store = optimisticStore(engine, { hooks: { prepareGroup } })
  const transaction = await store.begin()
  await transaction.get('a')
  await transaction.put('a', bytes('2'))
  const put = store.put('a', bytes('1'))
  await turn()
  await turn()
  await writes[0]!.finish()
  await put
  await expect(transaction.commit()).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
  expect([writes.length, prepared]).toEqual([1, 1])
})

test('a transaction that outlives the remembered history conflicts instead of going unchecked', async () => {
  const store = optimisticStore(memoryEngine(), { maxHistory: 10 })
  const old = await store.begin()
  await old.get('never changed')
  await old.put('a', bytes('1'))
  for (let i = 0; i < 8; i++) await store.put(`k${i}`, bytes('1'))
  const young = await store.begin()
  await young.get('never changed')
  await young.put('b', bytes('1'))
  for (let i = 0; i < 5; i++) await store.put(`m${i}`, bytes('1'))
  await expect(old.get('other')).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
  await expect(old.commit()).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
  await young.commit()
})

test('a scan that stopped early does not conflict with changes behind what it saw', async () => {
  const store = optimisticStore(memoryEngine())
  for (const key of ['q/1', 'q/2', 'q/3']) await store.put(key, bytes('1'))
  const take = await store.begin()
  for await (const [key] of take.scan({ prefix: 'q/', limit: 1 })) await take.delete(key)
  await store.put('q/4', bytes('1'))
  await take.commit()
  const newest = await store.begin()
  for await (const [key] of newest.scan({ prefix: 'q/', reverse: true, limit: 1 })) await newest.delete(key)
  await store.put('q/5', bytes('1'))
  await expect(newest.commit()).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
})
