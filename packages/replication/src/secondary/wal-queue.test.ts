import { expect, test } from 'vitest'
import type { Wal } from '../messages.ts'
import { walQueue } from './wal-queue.ts'

function wal(index: number, size: number, key = `k${index}`): Wal {
  const group = { partition: 'replicated/m', mountPath: 'm/', keys: [key], values: [new Uint8Array(size).fill(index)] }
  return {
    type: 'wal',
    round: 0,
    cursor: { epoch: 1, index, digest: new Uint8Array(32) },
    head: index,
    groups: [group],
    guard: null,
    after: null,
    digest: null,
  }
}

test('takes several batches as one, up to the bound, and at least one', () => {
  const queue = walQueue(1000)
  for (const [index, size] of [400, 400, 400, 5000, 10].entries()) queue.push(wal(index, size))
  const taken = []
  for (let batch = queue.take(); batch; batch = queue.take())
    taken.push([batch.last.cursor.index, batch.operations.length])
  expect(taken).toEqual([
    [2, 3],
    [3, 1],
    [4, 1],
  ])
})

test('of a key written in several batches the last value counts', () => {
  const queue = walQueue(1000)
  queue.push(wal(1, 1, 'k'))
  queue.push(wal(2, 1, 'k'))
  expect(queue.take()).toMatchObject({ operations: [{ key: 'k', value: Uint8Array.of(2) }], last: { head: 2 } })
})

test('tells when a peer sends without end', () => {
  const queue = walQueue(1000)
  const large = wal(1, 40 * 1024 * 1024)
  expect([queue.push(large), queue.push(large), queue.push(large)]).toEqual([true, true, false])
  while (queue.take());
  expect(queue.push(large)).toBe(true)
})
