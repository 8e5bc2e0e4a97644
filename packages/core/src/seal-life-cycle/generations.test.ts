import { memoryStore, type Store } from '@lockstep/storage'
import { expect, test } from 'vitest'
import { openGenerations } from './generations.ts'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }
const text = (value: string) => Buffer.from(value)
const open = (store: Store, clean = true) => openGenerations(store, quiet, { clean })
async function keysOf(store: Store): Promise<string[]> {
  const keys: string[] = []
  for await (const [key] of store.scan()) keys.push(key)
  return keys.sort()
}

test('a new generation takes the place of the old one, which is deleted', async () => {
  const store = memoryStore()
  const generations = await open(store)
  await generations.current().put('a', text('old'))
  await generations.replace((next) => next.put('a', text('new')))
  expect(Buffer.from((await generations.current().get('a'))!).toString()).toBe('new')
  await generations.replace(async () => {})
  expect(await generations.current().get('a')).toBeUndefined()
  await (await open(store)).close()
  expect((await open(store)).number()).toBe(2)
})

test('one that could not be filled is given up, and its number is not used again', async () => {
  const store = memoryStore()
  const generations = await open(store)
  await generations.current().put('a', text('old'))
  const failing = generations.replace(async (next) => {
    await next.put('b', text('half'))
    throw new Error('no more')
  })
  await expect(failing).rejects.toThrow('no more')
  expect(generations.number()).toBe(0)
  await generations.replace(async (next) => expect(await next.list('')).toEqual([]))
  expect(generations.number()).toBe(2)
})

test('only the node that writes deletes what is left over', async () => {
  const store = memoryStore()
  await store.put('g0/a', text('current'))
  await store.put('g7/a', text('being filled by the leader'))
  await (await open(store, false)).close()
  expect(await keysOf(store)).toEqual(['g0/a', 'g7/a'])
  const leader = await open(store)
  await new Promise((resolve) => setTimeout(resolve, 20))
  await leader.close()
  expect(await keysOf(store)).toEqual(['g0/a'])
})

test('another node sees the change when it looks', async () => {
  const store = memoryStore()
  const [leader, follower] = [await open(store), await open(store, false)]
  await leader.replace(async () => {})
  expect(follower.number()).toBe(0)
  await follower.refresh()
  expect(follower.number()).toBe(1)
})

test.each([
  ['{"format":2,"current":0,"next":1}', 'newer version'],
  ['{"format":1,"current":"x","next":1}', 'whole number'],
  ['{}', 'newer version'],
  ['nonsense', 'not JSON'],
])('a pointer %s is refused', async (pointer, why) => {
  const store = memoryStore()
  await store.put('generation', text(pointer))
  await expect(open(store)).rejects.toThrow(why)
})

test('what a replacement that failed has left for other nodes is gone with the next one', async () => {
  const store = memoryStore()
  const generations = await open(store)
  const { put } = store
  const pill = () => text('poison')
  let refusing = true
  store.put = (key, value) =>
    refusing && key === 'generation' && Buffer.from(value).includes('"current":1')
      ? Promise.reject(new Error('the disk is full'))
      : put.call(store, key, value)
  await expect(generations.replace(async () => {}, pill)).rejects.toThrow('the disk is full')
  refusing = false
  expect(await generations.pill(0)).toBeDefined()
  await generations.replace(async () => {})
  expect(await generations.pill(0)).toBeUndefined()
})
