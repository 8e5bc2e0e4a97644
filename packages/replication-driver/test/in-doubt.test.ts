import type { Engine } from '@lockstep/storage'
import { memoryEngine } from '@lockstep/storage'
import { expect, test } from 'vitest'
import { open } from './fixture.ts'

test('forest and head follow a write that was stored although its answer was lost, without waiting for the next write', async () => {
  const memory = memoryEngine()
  let lose = false
  const engine: Engine = {
    get: (key) => memory.get(key),
    getMany: (keys) => memory.getMany(keys),
    scan: (range) => memory.scan(range),
    async write(operations) {
      await memory.write(operations)
      if (lose) throw new Error('the answer was lost')
    },
    close: () => memory.close(),
  }
  const store = await open(engine)
  await store.put('secret/a', Buffer.from('1'))
  const { index } = store.log.head()
  const before = store.forest.composedRoot(() => true)
  lose = true
  await expect(store.put('secret/b', Buffer.from('2'))).rejects.toThrow('lost')
  expect(await store.get('secret/b')).toEqual(Buffer.from('2'))
  await expect.poll(() => store.log.head().index).toBe(index + 1)
  expect(store.forest.composedRoot(() => true)).not.toEqual(before)
})
