import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readCache } from '../src/read-cache.ts'

const bytes = (text: string) => Buffer.from(text)

test('loads once, then serves from memory', async () => {
  const cache = readCache(10_000)
  let loads = 0
  const load = async () => {
    loads++
    return bytes('v')
  }
  const [a, b] = await Promise.all([cache.read('k', load), cache.read('k', load)])
  expect([a, b, await cache.read('k', load)]).toEqual([bytes('v'), bytes('v'), bytes('v')])
  expect(loads).toBe(1)
})

test('a load that a commit overtakes is not cached, nor given to later readers', async () => {
  const cache = readCache(10_000)
  let finish: (value: Uint8Array) => void = () => {}
  const early = cache.read('k', () => new Promise((resolve) => (finish = resolve)))
  cache.written('k', undefined)
  const late = cache.read('k', async () => undefined)
  finish(bytes('old'))
  expect(await early).toEqual(bytes('old'))
  expect(await late).toBeUndefined()
  cache.written('k', bytes('new'))
  expect(await cache.read('k', async () => bytes('wrong'))).toEqual(bytes('new'))

  let finishMany: (values: Uint8Array[]) => void = () => {}
  const many = cache.readMany(['x', 'k', 'y'], () => new Promise((resolve) => (finishMany = resolve)))
  cache.written('x', bytes('x2'))
  finishMany([bytes('x1'), bytes('y1')])
  expect(await many).toEqual([bytes('x1'), bytes('new'), bytes('y1')])
  const wrong = async () => [bytes('wrong')]
  expect(await cache.readMany(['x', 'k', 'y'], wrong)).toEqual([bytes('x2'), bytes('new'), bytes('y1')])
})

test('a failed load leaves no trace', async () => {
  const cache = readCache(10_000)
  await expect(cache.read('k', () => Promise.reject(new Error('disk')))).rejects.toThrow('disk')
  await expect(cache.readMany(['k'], () => Promise.reject(new Error('disk')))).rejects.toThrow('disk')
  expect(await cache.read('k', async () => bytes('v'))).toEqual(bytes('v'))
})

test('stays within its bytes and lets go of what was not used lately', async () => {
  const cache = readCache(20_000)
  const value = Buffer.alloc(200)
  const absent = async () => undefined
  for (let i = 0; i < 100; i++) {
    cache.written(`k${i}`, value)
    expect(cache.bytes).toBeLessThanOrEqual(20_000)
    expect(await cache.read('k0', absent)).toBe(value)
  }
  expect(cache.bytes).toBeGreaterThan(10_000)
  expect(await cache.read('k99', absent)).toBe(value)
  expect(await cache.read('k1', absent)).toBeUndefined()
  cache.written('large', Buffer.alloc(3000))
  expect(await cache.read('large', absent)).toBeUndefined()
  const none = readCache(0)
  none.written('k', value)
  expect(none.bytes).toBe(0)
})

test('a key is never served older than it was last written, whichever generation held it', async () => {
  const cache = readCache(20_000)
  cache.written('k', bytes('1'))
  for (let i = 0; i < 20; i++) cache.written(`k${i}`, Buffer.alloc(200))
  cache.written('k', bytes('2'))
  for (let i = 0; i < 20; i++) cache.written(`k${i}`, Buffer.alloc(200))
  expect(await cache.read('k', async () => bytes('3'))).toEqual(bytes('2'))
  cache.written('k', undefined)
  expect(await cache.read('k', async () => bytes('3'))).toEqual(bytes('3'))
})

test('the byte count is that of what is held', () => {
  const step = fc.tuple(
    fc.integer({ min: 0, max: 30 }).map((number) => `k${number}`),
    fc.option(fc.integer({ min: 0, max: 400 }), { nil: undefined }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const cache = readCache(10_000)
      for (const [key, size] of steps) cache.written(key, size === undefined ? undefined : Buffer.alloc(size))
      expect(cache.bytes).toBeLessThanOrEqual(10_000)
      for (let number = 0; number <= 30; number++) cache.forget(`k${number}`)
      expect(cache.bytes).toBe(0)
    }),
  )
})
