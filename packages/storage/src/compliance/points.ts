import assert from 'node:assert/strict'
import { bytes, type StoreTest, text } from './fixture.ts'

export function points(test: StoreTest): void {
  test('get: an absent key reads as undefined', async (store) => {
    assert.equal(await store.get('absent'), undefined)
  })

  test('put: the value reads back, as a Uint8Array', async (store) => {
    await store.put('a', bytes('1'))
    const value = await store.get('a')
    assert.ok(value instanceof Uint8Array)
    assert.deepEqual(new Uint8Array(value), bytes('1'))
  })

  test('put: replaces the value before', async (store) => {
    await store.put('a', bytes('a longer value'))
    await store.put('a', bytes('2'))
    assert.equal(text(await store.get('a')), '2')
  })

  test('put: puts under way at the same time to different keys are all kept', async (store) => {
    await Promise.all(Array.from({ length: 50 }, (_, i) => store.put(`key-${i}`, bytes(String(i)))))
    for (let i = 0; i < 50; i++) assert.equal(text(await store.get(`key-${i}`)), String(i))
  })

  test('put: never conflicts, also when many write one key at the same time', async (store) => {
    await Promise.all(Array.from({ length: 20 }, (_, i) => store.put('hot', bytes(String(i)))))
    const value = Number(text(await store.get('hot')))
    assert.ok(value >= 0 && value < 20)
  })

  test('delete: the key is absent afterwards, others stay', async (store) => {
    await store.put('a', bytes('1'))
    await store.put('ab', bytes('2'))
    await store.delete('a')
    assert.equal(await store.get('a'), undefined)
    assert.equal(text(await store.get('ab')), '2')
  })

  test('delete: of an absent key succeeds', async (store) => {
    await store.delete('absent')
    assert.equal(await store.get('absent'), undefined)
  })

  test('getMany: same order as the keys, undefined where absent, repeated keys repeated', async (store) => {
    await store.put('a', bytes('1'))
    await store.put('c', bytes('3'))
    const values = await store.getMany(['c', 'b', 'a', 'c'])
    assert.deepEqual(values.map(text), ['3', undefined, '1', '3'])
  })

  test('getMany: of no keys is empty', async (store) => {
    assert.deepEqual(await store.getMany([]), [])
  })
}
