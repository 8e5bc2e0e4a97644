import { expect, test } from 'vitest'
import { memoryLeaderLock, memoryStore, prefixedStore, transact } from '../src/index.ts'

const one = new Uint8Array([1])

test('a view writes below its prefix and leaves its parent open', async () => {
  const parent = memoryStore()
  const view = prefixedStore(parent, 'mount/1/')
  await view.put('a/b', one)
  await transact(view, (transaction) => transaction.put('c', one))
  expect(await parent.list('mount/1/')).toEqual(['a/', 'c'])
  await view.close()
  await expect(view.get('a')).rejects.toMatchObject({ code: 'STORAGE_CLOSED' })
  expect(await parent.get('mount/1/c')).toEqual(one)
})

test('transactions of views of one parent conflict', async () => {
  const parent = memoryStore()
  const [outer, inner] = [prefixedStore(parent, 'a/'), prefixedStore(prefixedStore(parent, 'a/'), 'b/')]
  const transaction = await outer.begin()
  await transaction.get('b/c')
  await transaction.put('x', one)
  await inner.put('c', one)
  await expect(transaction.commit()).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
})

test.each(['', 'no-slash', '\ud800/'])('a view needs a prefix that ends in "/", not %j', (prefix) => {
  expect(() => prefixedStore(memoryStore(), prefix)).toThrow(expect.objectContaining({ code: 'STORAGE_INVALID_KEY' }))
})

test('a memory lock that is revoked goes to the next waiter', async () => {
  const lock = memoryLeaderLock()
  const first = await lock.acquire()
  const waiting = lock.acquire()
  lock.revoke()
  await first.lost
  const second = await waiting
  expect(second.fencingToken).toBeGreaterThan(first.fencingToken)
  await first.release()
  await second.publish('second')
  expect(await lock.holder()).toBe('second')
})

test('transact gives up after its attempts and passes other errors on at once', async () => {
  const store = memoryStore()
  let runs = 0
  const disturbed = transact(
    store,
    async (transaction) => {
      runs++
      await transaction.get('a')
      await store.put('a', one)
      await transaction.put('b', one)
    },
    { attempts: 4 },
  )
  await expect(disturbed).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
  expect(runs).toBe(4)
  await expect(transact(store, () => Promise.reject(new Error('other')))).rejects.toThrow('other')
})
