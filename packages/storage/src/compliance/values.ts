import assert from 'node:assert/strict'
import { bytes, collect, type StoreTest } from './fixture.ts'

export function values(test: StoreTest): void {
  test('values: an empty value is not an absent one', async (store) => {
    await store.put('empty', new Uint8Array())
    assert.equal((await store.get('empty'))?.byteLength, 0)
    assert.equal((await store.getMany(['empty']))[0]?.byteLength, 0)
    const transaction = await store.begin()
    assert.equal((await transaction.get('empty'))?.byteLength, 0)
    await transaction.put('empty too', new Uint8Array())
    assert.equal((await transaction.get('empty too'))?.byteLength, 0)
    await transaction.commit()
    assert.equal((await store.get('empty too'))?.byteLength, 0)
    assert.deepEqual(await store.list(''), ['empty', 'empty too'])
  })

  test('values: every byte reads back', async (store) => {
    const value = Uint8Array.from({ length: 256 }, (_, i) => i)
    await store.put('bytes', value)
    assert.deepEqual(new Uint8Array((await store.get('bytes'))!), value)
  })

  test('values: 1 MiB reads back from put, transaction and scan', async (store) => {
    const big = Uint8Array.from({ length: 1024 * 1024 }, (_, i) => (i * 31) & 0xff)
    await store.put('big/1', big)
    const transaction = await store.begin()
    await transaction.put('big/2', big)
    await transaction.commit()
    for (const [, value] of await collect(store.scan({ prefix: 'big/' }))) assert.equal(Buffer.compare(value, big), 0)
    assert.equal(Buffer.compare((await store.get('big/2'))!, big), 0)
  })

  test('values: a view into a larger buffer is stored without what surrounds it', async (store) => {
    const buffer = bytes('before-value-after')
    await store.put('view', buffer.subarray(7, 12))
    assert.deepEqual(new Uint8Array((await store.get('view'))!), bytes('value'))
  })
}
