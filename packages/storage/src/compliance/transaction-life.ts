import assert from 'node:assert/strict'
import { bytes, collect, keysOf, putAll, rejectsWith, type StoreTest, text } from './fixture.ts'

export function transactionLife(test: StoreTest): void {
  test('transaction: writes are invisible until commit, then all visible', async (store) => {
    await store.put('b', bytes('old'))
    const transaction = await store.begin()
    await transaction.put('a', bytes('1'))
    await transaction.delete('b')
    assert.equal(await store.get('a'), undefined)
    assert.equal(text(await store.get('b')), 'old')
    await transaction.commit()
    assert.equal(text(await store.get('a')), '1')
    assert.equal(await store.get('b'), undefined)
  })

  test('transaction: reads its own writes', async (store) => {
    await putAll(store, ['a', 'b', 'c'])
    const transaction = await store.begin()
    await transaction.put('a', bytes('own'))
    await transaction.delete('b')
    assert.equal(text(await transaction.get('a')), 'own')
    assert.equal(await transaction.get('b'), undefined)
    assert.deepEqual((await transaction.getMany(['c', 'b', 'a', 'c', 'd'])).map(text), [
      'value of c',
      undefined,
      'own',
      'value of c',
      undefined,
    ])
    await transaction.abort()
  })

  test('transaction: the last write of a key wins', async (store) => {
    const transaction = await store.begin()
    await transaction.put('a', bytes('1'))
    await transaction.delete('a')
    await transaction.put('a', bytes('2'))
    await transaction.put('b', bytes('1'))
    await transaction.delete('b')
    await transaction.commit()
    assert.equal(text(await store.get('a')), '2')
    assert.equal(await store.get('b'), undefined)
  })

  test('transaction: abort discards the writes and may be repeated', async (store) => {
    const transaction = await store.begin()
    await transaction.put('a', bytes('1'))
    await transaction.abort()
    await transaction.abort()
    assert.deepEqual(await keysOf(store.scan()), [])
  })

  test('transaction: abort after commit does nothing', async (store) => {
    const transaction = await store.begin()
    await transaction.put('a', bytes('1'))
    await transaction.commit()
    await transaction.abort()
    assert.equal(text(await store.get('a')), '1')
  })

  for (const end of ['commit', 'abort'] as const) {
    test(`transaction: every call after ${end} is rejected with STORAGE_CLOSED_TRANSACTION`, async (store) => {
      const transaction = await store.begin()
      await transaction.put('a', bytes('1'))
      await transaction[end]()
      const closed = 'STORAGE_CLOSED_TRANSACTION'
      await rejectsWith(closed, () => transaction.get('a'))
      await rejectsWith(closed, () => transaction.getMany(['a']))
      await rejectsWith(closed, () => transaction.list(''))
      await rejectsWith(closed, () => collect(transaction.scan()))
      await rejectsWith(closed, () => transaction.put('a', bytes('2')))
      await rejectsWith(closed, () => transaction.delete('a'))
      await rejectsWith(closed, () => transaction.commit())
    })
  }

  test('transaction: without writes, and without anything, commits', async (store) => {
    await store.put('a', bytes('1'))
    const reading = await store.begin()
    assert.equal(text(await reading.get('a')), '1')
    await reading.commit()
    const idle = await store.begin()
    await idle.commit()
  })

  test('transaction: 1,000 writes commit together', async (store) => {
    const transaction = await store.begin()
    for (let i = 0; i < 1000; i++) await transaction.put(`bulk/${i}`, bytes(String(i)))
    await transaction.commit()
    assert.equal((await store.list('bulk/')).length, 1000)
  })
}
