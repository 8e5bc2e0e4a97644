import assert from 'node:assert/strict'
import { bytes, collect, keysOf, rejectsWith, type StoreTest, text } from './fixture.ts'

export function closing(test: StoreTest): void {
  test('close: later calls are rejected with STORAGE_CLOSED', async (store) => {
    await store.put('a', bytes('1'))
    const transaction = await store.begin()
    await store.close()
    await rejectsWith('STORAGE_CLOSED', () => store.get('a'))
    await rejectsWith('STORAGE_CLOSED', () => store.getMany(['a']))
    await rejectsWith('STORAGE_CLOSED', () => store.list(''))
    await rejectsWith('STORAGE_CLOSED', () => collect(store.scan()))
    await rejectsWith('STORAGE_CLOSED', () => store.put('a', bytes('2')))
    await rejectsWith('STORAGE_CLOSED', () => store.delete('a'))
    await rejectsWith('STORAGE_CLOSED', () => store.begin())
    await rejectsWith('STORAGE_CLOSED', () => transaction.get('a'))
    await rejectsWith('STORAGE_CLOSED', () => transaction.commit())
    await transaction.abort()
  })

  test('close: may be repeated', async (store) => {
    await Promise.all([store.close(), store.close()])
    await store.close()
  })

  test('close: writes under way finish', async (store, fixture) => {
    const transaction = await store.begin()
    await transaction.put('b', bytes('2'))
    const writes = [store.put('a', bytes('1')), transaction.commit()]
    await store.close()
    await Promise.all(writes)
    if (fixture.reopen === undefined) return
    const again = await fixture.reopen()
    assert.deepEqual(await keysOf(again.scan()), ['a', 'b'])
  })

  test('close: what was written is there after opening again', async (store, fixture) => {
    if (fixture.reopen === undefined) return
    await store.put('kept', bytes('1'))
    await store.put('removed', bytes('1'))
    await store.delete('removed')
    const transaction = await store.begin()
    await transaction.put('in/transaction', bytes('2'))
    await transaction.commit()
    const aborted = await store.begin()
    await aborted.put('aborted', bytes('3'))
    await aborted.abort()
    await store.close()
    const again = await fixture.reopen()
    assert.deepEqual(await keysOf(again.scan()), ['in/transaction', 'kept'])
    assert.equal(text(await again.get('kept')), '1')
    await again.put('later', bytes('4'))
    assert.deepEqual(await again.list(''), ['in/', 'kept', 'later'])
  })
}
