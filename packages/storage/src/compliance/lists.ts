import assert from 'node:assert/strict'
import { bytes, putAll, rejectsWith, type StoreTest } from './fixture.ts'

export function lists(test: StoreTest): void {
  test('list: an empty store has no children', async (store) => {
    assert.deepEqual(await store.list(''), [])
    assert.deepEqual(await store.list('nothing/'), [])
  })

  test('list: immediate children, deeper keys as one folder each', async (store) => {
    await putAll(store, ['top', 'a/b', 'a/c/d', 'a/c/e/f', 'a/c', 'b/x', 'ab/y'])
    assert.deepEqual(await store.list(''), ['a/', 'ab/', 'b/', 'top'])
    assert.deepEqual(await store.list('a/'), ['b', 'c', 'c/'])
    assert.deepEqual(await store.list('a/c/'), ['d', 'e/'])
    assert.deepEqual(await store.list('absent/'), [])
  })

  test('list: a folder sorts by its name with the slash', async (store) => {
    await putAll(store, ['a', 'a-b', 'a.b', 'a/b', 'a0', 'a/c'])
    assert.deepEqual(await store.list(''), ['a', 'a-b', 'a.b', 'a/', 'a0'])
  })

  test('list: names are in UTF-8 order', async (store) => {
    await putAll(store, ['p/😀', 'p/\ufffd', 'p/é/x', 'p/z', 'p/😀/y'])
    assert.deepEqual(await store.list('p/'), ['z', 'é/', '\ufffd', '😀', '😀/'])
    assert.deepEqual(await store.list('p/', { after: '\ufffd' }), ['😀', '😀/'])
  })

  test('list: a key equal to the prefix is not its own child', async (store) => {
    await putAll(store, ['a/', 'a/b'])
    assert.deepEqual(await store.list('a/'), ['b'])
    assert.deepEqual(await store.list(''), ['a/'])
  })

  test('list: empty folder names', async (store) => {
    await putAll(store, ['/x', 'a//b', 'a//c'])
    assert.deepEqual(await store.list(''), ['/', 'a/'])
    assert.deepEqual(await store.list('a/'), ['/'])
    assert.deepEqual(await store.list('a//'), ['b', 'c'])
  })

  test('list: after and limit', async (store) => {
    await putAll(store, ['d/a', 'd/b/1', 'd/b/2', 'd/c', 'd/e/1'])
    assert.deepEqual(await store.list('d/', { limit: 2 }), ['a', 'b/'])
    assert.deepEqual(await store.list('d/', { after: 'a' }), ['b/', 'c', 'e/'])
    assert.deepEqual(await store.list('d/', { after: 'b' }), ['b/', 'c', 'e/'])
    assert.deepEqual(await store.list('d/', { after: 'b/' }), ['c', 'e/'])
    assert.deepEqual(await store.list('d/', { after: 'b/', limit: 1 }), ['c'])
    assert.deepEqual(await store.list('d/', { after: 'b/1' }), ['c', 'e/'])
    assert.deepEqual(await store.list('d/', { after: 'zz' }), [])
    assert.deepEqual(await store.list('d/', { limit: 0 }), [])
    assert.deepEqual(await store.list('d/', { limit: 100 }), ['a', 'b/', 'c', 'e/'])
  })

  test('list: pages of two put together give the whole', async (store) => {
    const keys = Array.from({ length: 30 }, (_, i) => `p/${String(i).padStart(2, '0')}${i % 3 === 0 ? '/x' : ''}`)
    await putAll(store, keys)
    const names: string[] = []
    for (let after = ''; ; after = names.at(-1)!) {
      const page = await store.list('p/', { after, limit: 2 })
      names.push(...page)
      if (page.length < 2) break
    }
    assert.deepEqual(names, await store.list('p/'))
    assert.equal(names.length, 30)
  })

  test('list: folders with many keys between other children', async (store) => {
    const transaction = await store.begin()
    for (const folder of ['a', 'b', 'c']) {
      for (let i = 0; i < 300; i++) await transaction.put(`${folder}/${i}/x`, bytes('1'))
      await transaction.put(`${folder}0`, bytes('1'))
    }
    await transaction.commit()
    assert.deepEqual(await store.list(''), ['a/', 'a0', 'b/', 'b0', 'c/', 'c0'])
    assert.equal((await store.list('b/')).length, 300)
  })

  test('list: a prefix that does not end in "/" is rejected with STORAGE_INVALID_KEY', async (store) => {
    await rejectsWith('STORAGE_INVALID_KEY', () => store.list('a'))
    const transaction = await store.begin()
    await rejectsWith('STORAGE_INVALID_KEY', () => transaction.list('a'))
    await transaction.abort()
  })

  test('list: in a transaction includes its own writes', async (store) => {
    await putAll(store, ['a/1', 'b/1', 'b/2', 'c', 'e'])
    const transaction = await store.begin()
    await transaction.put('d/1', bytes('1'))
    await transaction.put('a/2', bytes('1'))
    await transaction.delete('c')
    await transaction.delete('a/1')
    await transaction.delete('b/1')
    assert.deepEqual(await transaction.list(''), ['a/', 'b/', 'd/', 'e'])
    assert.deepEqual(await transaction.list('', { limit: 2 }), ['a/', 'b/'])
    await transaction.delete('b/2')
    await transaction.delete('absent/x')
    assert.deepEqual(await transaction.list(''), ['a/', 'd/', 'e'])
    assert.deepEqual(await transaction.list('', { limit: 2 }), ['a/', 'd/'])
    assert.deepEqual(await transaction.list('', { after: 'a/', limit: 1 }), ['d/'])
    assert.deepEqual(await transaction.list('a/'), ['2'])
    await transaction.commit()
    assert.deepEqual(await store.list(''), ['a/', 'd/', 'e'])
  })
}
