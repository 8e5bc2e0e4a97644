import assert from 'node:assert/strict'
import type { Transaction } from '../store.ts'
import { bytes, keysOf, putAll, rejectsWith, type StoreTest, text } from './fixture.ts'

/** Runs the steps and the commit; a conflict may surface at any of them. */
async function outcome(transaction: Transaction, steps: () => Promise<void>): Promise<'committed' | 'conflict'> {
  try {
    await steps()
    await transaction.commit()
    return 'committed'
  } catch (error) {
    await transaction.abort()
    assert.equal((error as { code?: unknown }).code, 'STORAGE_CONFLICT', String(error))
    return 'conflict'
  }
}

export function isolation(test: StoreTest): void {
  test('isolation: a lost update is prevented', async (store) => {
    await store.put('n', bytes('0'))
    const [first, second] = [await store.begin(), await store.begin()]
    assert.equal(text(await first.get('n')), '0')
    assert.equal(text(await second.get('n')), '0')
    assert.equal(await outcome(first, () => first.put('n', bytes('first'))), 'committed')
    assert.equal(await outcome(second, () => second.put('n', bytes('second'))), 'conflict')
    assert.equal(text(await store.get('n')), 'first')
  })

  test('isolation: creating an absent key that both looked for conflicts', async (store) => {
    const [first, second] = [await store.begin(), await store.begin()]
    assert.equal(await first.get('lock'), undefined)
    assert.equal((await second.getMany(['lock']))[0], undefined)
    assert.equal(await outcome(first, () => first.put('lock', bytes('first'))), 'committed')
    assert.equal(await outcome(second, () => second.put('lock', bytes('second'))), 'conflict')
    assert.equal(text(await store.get('lock')), 'first')
  })

  test('isolation: a put or delete outside transactions conflicts with a transaction that read and writes the key', async (store) => {
    for (const write of [() => store.put('n', bytes('outside')), () => store.delete('n')]) {
      await store.put('n', bytes('0'))
      const transaction = await store.begin()
      await transaction.get('n')
      await write()
      assert.equal(await outcome(transaction, () => transaction.put('n', bytes('inside'))), 'conflict')
      assert.notEqual(text(await store.get('n')), 'inside')
    }
  })

  test('isolation: write skew is prevented', async (store) => {
    await putAll(store, ['x', 'y'])
    const [first, second] = [await store.begin(), await store.begin()]
    for (const transaction of [first, second]) await transaction.getMany(['x', 'y'])
    const outcomes = [await outcome(first, () => first.delete('x')), await outcome(second, () => second.delete('y'))]
    assert.deepEqual(outcomes.sort(), ['committed', 'conflict'])
    assert.equal((await keysOf(store.scan())).length, 1)
  })

  test('isolation: phantoms in scans are prevented', async (store) => {
    await putAll(store, ['r/1', 's/1'])
    const [first, second] = [await store.begin(), await store.begin()]
    for (const transaction of [first, second])
      assert.equal((await keysOf(transaction.scan({ prefix: 'r/' }))).length, 1)
    const outcomes = [
      await outcome(first, () => first.put('r/first', bytes('1'))),
      await outcome(second, () => second.put('r/second', bytes('1'))),
    ]
    assert.deepEqual(outcomes.sort(), ['committed', 'conflict'])
  })

  test('isolation: phantoms in lists are prevented', async (store) => {
    const [first, second] = [await store.begin(), await store.begin()]
    for (const transaction of [first, second]) assert.deepEqual(await transaction.list('dir/'), [])
    const outcomes = [
      await outcome(first, () => first.put('dir/a', bytes('1'))),
      await outcome(second, () => second.put('dir/b/c', bytes('1'))),
    ]
    assert.deepEqual(outcomes.sort(), ['committed', 'conflict'])
  })

  test('isolation: a deletion inside a scanned range conflicts', async (store) => {
    await putAll(store, ['r/1', 'r/2', 'out'])
    const transaction = await store.begin()
    await keysOf(transaction.scan({ prefix: 'r/' }))
    const other = await store.begin()
    await other.get('out')
    await other.delete('r/2')
    await other.commit()
    assert.equal(
      await outcome(transaction, async () => {
        await transaction.put('out', bytes('counted 2'))
      }),
      'conflict',
    )
  })

  test('isolation: blind writes of one key do not conflict, the last commit wins', async (store) => {
    const [first, second] = [await store.begin(), await store.begin()]
    await first.put('k', bytes('first'))
    await second.put('k', bytes('second'))
    await second.commit()
    await first.commit()
    assert.equal(text(await store.get('k')), 'first')
  })

  test('isolation: a read never mixes two states', async (store) => {
    await store.put('x', bytes('old'))
    await store.put('y', bytes('old'))
    const reader = await store.begin()
    assert.equal(text(await reader.get('x')), 'old')
    const writer = await store.begin()
    await writer.put('x', bytes('new'))
    await writer.put('y', bytes('new'))
    await writer.commit()
    try {
      assert.equal(text(await reader.get('y')), 'old')
    } catch (error) {
      assert.equal((error as { code?: unknown }).code, 'STORAGE_CONFLICT')
    }
    await reader.abort()
  })

  test('isolation: a scan never mixes in states later than an earlier read', async (store) => {
    await putAll(store, ['x', 'r/1', 'r/2'])
    const reader = await store.begin()
    await reader.get('x')
    await store.put('r/3', bytes('new'))
    await store.delete('r/1')
    for (const read of [
      () => keysOf(reader.scan({ prefix: 'r/' })),
      () => reader.list('r/').then((n) => n.map((k) => `r/${k}`)),
    ]) {
      try {
        assert.deepEqual(await read(), ['r/1', 'r/2'])
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, 'STORAGE_CONFLICT')
      }
    }
    await reader.abort()
  })

  test('isolation: after a conflict the transaction is over and nothing of it is stored', async (store) => {
    const [first, second] = [await store.begin(), await store.begin()]
    await Promise.all([first.get('n'), second.get('n')])
    await first.put('n', bytes('1'))
    await first.commit()
    await second.put('other', bytes('2'))
    await second.put('n', bytes('2'))
    await rejectsWith('STORAGE_CONFLICT', () => second.commit())
    await rejectsWith('STORAGE_CLOSED_TRANSACTION', () => second.get('n'))
    assert.equal(await store.get('other'), undefined)
  })
}
