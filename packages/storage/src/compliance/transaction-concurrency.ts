import assert from 'node:assert/strict'
import { transact } from '../store.ts'
import { bytes, putAll, type StoreTest, text } from './fixture.ts'

export function concurrency(test: StoreTest): void {
  test('concurrency: 60 increments at the same time through transact lose nothing', async (store) => {
    await Promise.all(
      Array.from({ length: 60 }, () =>
        transact(
          store,
          async (transaction) => {
            const count = Number(text(await transaction.get('count')) ?? '0')
            await transaction.put('count', bytes(String(count + 1)))
          },
          { attempts: 1000 },
        ),
      ),
    )
    assert.equal(text(await store.get('count')), '60')
  })

  test('concurrency: moves between accounts keep the total, seen from every transaction', async (store) => {
    const accounts = ['acc/a', 'acc/b', 'acc/c', 'acc/d']
    for (const account of accounts) await store.put(account, bytes('100'))
    const move = (from: string, to: string) =>
      transact(
        store,
        async (transaction) => {
          const [source, target] = (await transaction.getMany([from, to])).map((value) => Number(text(value)))
          await transaction.put(from, bytes(String(source! - 1)))
          await transaction.put(to, bytes(String(target! + 1)))
        },
        { attempts: 1000 },
      )
    const total = () =>
      transact(
        store,
        async (transaction) => {
          let sum = 0
          for await (const [, value] of transaction.scan({ prefix: 'acc/' })) sum += Number(text(value))
          return sum
        },
        { attempts: 1000 },
      )
    const work: Promise<void>[] = []
    for (let i = 0; i < 30; i++) {
      work.push(move(accounts[i % 4]!, accounts[(i + 1 + (i % 3)) % 4]!))
      if (i % 5 === 0) work.push(total().then((sum) => assert.equal(sum, 400)))
    }
    await Promise.all(work)
    assert.equal(await total(), 400)
  })

  test('concurrency: transactions on different keys do not disturb each other', async (store) => {
    await putAll(store, ['k/0', 'k/1', 'k/2', 'k/3'])
    await Promise.all(
      Array.from({ length: 4 }, (_, i) =>
        transact(store, async (transaction) => {
          await transaction.get(`k/${i}`)
          await transaction.put(`k/${i}`, bytes('mine'))
        }),
      ),
    )
    for (let i = 0; i < 4; i++) assert.equal(text(await store.get(`k/${i}`)), 'mine')
  })
}
