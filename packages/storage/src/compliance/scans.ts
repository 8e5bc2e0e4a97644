import assert from 'node:assert/strict'
import { bytes, collect, keysOf, putAll, type StoreTest, text } from './fixture.ts'

const KEYS = ['a', 'a/1', 'a/2', 'a/2/x', 'a/3', 'a0', 'b', 'c/1']

export function scans(test: StoreTest): void {
  test('scan: everything, in key order, with values', async (store) => {
    await putAll(store, [...KEYS].reverse())
    const entries = await collect(store.scan())
    assert.deepEqual(
      entries.map(([key, value]) => [key, text(value)]),
      KEYS.map((key) => [key, `value of ${key}`]),
    )
  })

  test('scan: an empty store or range yields nothing', async (store) => {
    assert.deepEqual(await keysOf(store.scan()), [])
    await putAll(store, KEYS)
    assert.deepEqual(await keysOf(store.scan({ prefix: 'zz' })), [])
    assert.deepEqual(await keysOf(store.scan({ after: 'b', before: 'a' })), [])
    assert.deepEqual(await keysOf(store.scan({ after: 'a', before: 'a' })), [])
    assert.deepEqual(await keysOf(store.scan({ prefix: 'a/', before: 'a' })), [])
    assert.deepEqual(await keysOf(store.scan({ prefix: 'a/', after: 'b' })), [])
    assert.deepEqual(await keysOf(store.scan({ limit: 0 })), [])
  })

  for (const reverse of [false, true]) {
    const direction = reverse ? 'descending' : 'ascending'
    const ordered = (keys: string[]) => (reverse ? [...keys].reverse() : keys)

    test(`scan: ${direction}, prefix, after and before, together and alone`, async (store) => {
      await putAll(store, KEYS)
      const scan = (range: object) => keysOf(store.scan({ ...range, reverse }))
      assert.deepEqual(await scan({ prefix: 'a/' }), ordered(['a/1', 'a/2', 'a/2/x', 'a/3']))
      assert.deepEqual(await scan({ prefix: 'a' }), ordered(['a', 'a/1', 'a/2', 'a/2/x', 'a/3', 'a0']))
      assert.deepEqual(await scan({ after: 'a/2' }), ordered(['a/2/x', 'a/3', 'a0', 'b', 'c/1']))
      assert.deepEqual(await scan({ before: 'a/2' }), ordered(['a', 'a/1']))
      assert.deepEqual(await scan({ after: 'a/1', before: 'b' }), ordered(['a/2', 'a/2/x', 'a/3', 'a0']))
      assert.deepEqual(await scan({ prefix: 'a/', after: 'a/1' }), ordered(['a/2', 'a/2/x', 'a/3']))
      assert.deepEqual(await scan({ prefix: 'a/', before: 'a/3' }), ordered(['a/1', 'a/2', 'a/2/x']))
      assert.deepEqual(await scan({ prefix: 'a/', after: 'a', before: 'z' }), ordered(['a/1', 'a/2', 'a/2/x', 'a/3']))
      assert.deepEqual(await scan({ prefix: 'a/', after: 'a/2', before: 'a/3' }), ['a/2/x'])
    })

    test(`scan: ${direction}, limit counts from the start of the direction`, async (store) => {
      await putAll(store, KEYS)
      assert.deepEqual(await keysOf(store.scan({ limit: 2, reverse })), ordered(KEYS).slice(0, 2))
      assert.deepEqual(await keysOf(store.scan({ limit: 100, reverse })), ordered(KEYS))
      const inner = ordered(['a/1', 'a/2', 'a/2/x', 'a/3'])
      assert.deepEqual(await keysOf(store.scan({ prefix: 'a/', limit: 3, reverse })), inner.slice(0, 3))
    })

    test(`scan: ${direction}, more entries than any page`, async (store) => {
      const transaction = await store.begin()
      const keys = Array.from({ length: 3000 }, (_, i) => `many/${String(i).padStart(5, '0')}`)
      for (const key of keys) await transaction.put(key, bytes(key))
      await transaction.commit()
      assert.deepEqual(await keysOf(store.scan({ prefix: 'many/', reverse })), ordered(keys))
    })
  }

  test('scan: a prefix that ends in the last code point', async (store) => {
    await putAll(store, ['x\u{10ffff}', 'x\u{10ffff}a', 'y', '\u{10ffff}\u{10ffff}', '\ud7ffa', '\ue000'])
    assert.deepEqual(await keysOf(store.scan({ prefix: 'x\u{10ffff}' })), ['x\u{10ffff}', 'x\u{10ffff}a'])
    assert.deepEqual(await keysOf(store.scan({ prefix: '\u{10ffff}', reverse: true })), ['\u{10ffff}\u{10ffff}'])
    assert.deepEqual(await keysOf(store.scan({ prefix: '\ud7ff' })), ['\ud7ffa'])
  })

  test('scan: stopping early is fine', async (store) => {
    await putAll(store, KEYS)
    for await (const [key] of store.scan()) {
      if (key === 'a/2') break
    }
    await store.put('after', bytes('1'))
    assert.equal(text(await store.get('after')), '1')
  })

  test('scan: sees the state of its start while others write', async (store) => {
    const keys = Array.from({ length: 500 }, (_, i) => `s/${String(i).padStart(3, '0')}`)
    await Promise.all(keys.map((key) => store.put(key, bytes('old'))))
    const seen: (readonly [string, string | undefined])[] = []
    for await (const [key, value] of store.scan({ prefix: 's/' })) {
      seen.push([key, text(value)])
      if (seen.length === 1) {
        await store.put('s/250', bytes('new'))
        await store.delete('s/251')
        await store.put('s/250a', bytes('new'))
        await store.put('s/499a', bytes('new'))
      }
    }
    assert.deepEqual(
      seen,
      keys.map((key) => [key, 'old']),
    )
    assert.equal((await keysOf(store.scan({ prefix: 's/' }))).length, 501)
  })

  test('scan: in a transaction includes its own writes', async (store) => {
    await putAll(store, ['a', 'c', 'e', 'g'])
    const transaction = await store.begin()
    await transaction.put('b', bytes('own'))
    await transaction.put('c', bytes('own'))
    await transaction.delete('e')
    await transaction.put('h', bytes('own'))
    await transaction.put('gone', bytes('own'))
    await transaction.delete('gone')
    assert.deepEqual(await keysOf(transaction.scan()), ['a', 'b', 'c', 'g', 'h'])
    assert.deepEqual(await keysOf(transaction.scan({ reverse: true })), ['h', 'g', 'c', 'b', 'a'])
    assert.deepEqual(await keysOf(transaction.scan({ limit: 3, after: 'a' })), ['b', 'c', 'g'])
    assert.deepEqual(await keysOf(transaction.scan({ limit: 2, reverse: true, before: 'h' })), ['g', 'c'])
    const values = (await collect(transaction.scan({ before: 'd' }))).map(([, value]) => text(value))
    assert.deepEqual(values, ['value of a', 'own', 'own'])
    await transaction.abort()
    assert.deepEqual(await keysOf(store.scan()), ['a', 'c', 'e', 'g'])
  })
}
