import assert from 'node:assert/strict'
import { compareKeys } from '../key.ts'
import { bytes, keysOf, putAll, rejectsWith, type StoreTest, text } from './fixture.ts'

const INVALID: readonly (readonly [string, string])[] = [
  ['an empty key', ''],
  ['a lone high surrogate', 'a\ud800b'],
  ['a lone low surrogate', '\udc00'],
  ['a key over 32 KiB', 'k'.repeat(32 * 1024 + 1)],
  ['a key over 32 KiB only in UTF-8', 'é'.repeat(16 * 1024 + 1)],
]

// In the order of their UTF-8 bytes. U+FFFD and U+FF5E sort after the emoji in UTF-16.
const ORDERED = [
  'A',
  'Z',
  'a',
  'a!',
  'a/',
  'a/b',
  'a0',
  'b',
  'é',
  'ü',
  '\ud7ff',
  '\uff5e',
  '\ufffd',
  '😀',
  '😀a',
  '\u{10ffff}',
]

export function keys(test: StoreTest): void {
  for (const [what, key] of INVALID) {
    test(`keys: ${what} is rejected with STORAGE_INVALID_KEY`, async (store) => {
      await rejectsWith('STORAGE_INVALID_KEY', () => store.put(key, bytes('1')))
      await rejectsWith('STORAGE_INVALID_KEY', () => store.get(key))
      await rejectsWith('STORAGE_INVALID_KEY', () => store.getMany(['good', key]))
      await rejectsWith('STORAGE_INVALID_KEY', () => store.delete(key))
      const transaction = await store.begin()
      await rejectsWith('STORAGE_INVALID_KEY', () => transaction.put(key, bytes('1')))
      await rejectsWith('STORAGE_INVALID_KEY', () => transaction.get(key))
      await transaction.abort()
      assert.deepEqual(await keysOf(store.scan()), [])
    })
  }

  test('keys: of 30 KiB, with quotes, backslashes, percent signs and control characters work', async (store) => {
    // Not compressible, as an index entry might be.
    const noise = Array.from({ length: 15_000 }, (_, i) => ((i * 7919 + (i >> 3) * 104729) % 9973).toString(36)).join(
      '',
    )
    const odd = [
      noise.slice(0, 30_000),
      `${noise.slice(0, 29_999)}/`,
      'nul\u0000nul',
      'k'.repeat(30 * 1024),
      `a'b"c\\d%e_f`,
      'tab\tnewline\nbell\u0007',
      ' leading and trailing ',
      '../up',
      '%2e',
    ]
    await putAll(store, odd)
    for (const key of odd) assert.equal(text(await store.get(key)), `value of ${key}`)
    assert.deepEqual(
      (await store.getMany(odd)).map(text),
      odd.map((key) => `value of ${key}`),
    )
    assert.deepEqual(await keysOf(store.scan()), [...odd].sort(compareKeys))
    assert.equal((await store.list('')).length, odd.length)
  })

  test('keys: compare by UTF-8 bytes', async (store) => {
    await putAll(store, [...ORDERED].reverse())
    assert.deepEqual(await keysOf(store.scan()), ORDERED)
    assert.deepEqual(await keysOf(store.scan({ reverse: true })), [...ORDERED].reverse())
    assert.deepEqual(await keysOf(store.scan({ after: '\ufffd' })), ['😀', '😀a', '\u{10ffff}'])
    assert.deepEqual(await keysOf(store.scan({ before: 'a!' })), ['A', 'Z', 'a'])
  })

  test('keys: are case sensitive and not normalised', async (store) => {
    await putAll(store, ['é', 'e\u0301', 'É'])
    assert.equal((await keysOf(store.scan())).length, 3)
    assert.equal(await store.get('E\u0301'), undefined)
  })
}
