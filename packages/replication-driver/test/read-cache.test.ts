import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readCache } from '../src/read-cache.ts'

const bytes = (text: string) => Buffer.from(text)
const absent = async () => undefined

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
  expect(await cache.read('k', async () => bytes('new'))).toEqual(bytes('new'))

  let finishMany: (values: Uint8Array[]) => void = () => {}
  const many = cache.readMany(['x', 'k', 'y'], () => new Promise((resolve) => (finishMany = resolve)))
  cache.written('x', bytes('x2'))
  finishMany([bytes('x1'), bytes('y1')])
  expect(await many).toEqual([bytes('x1'), bytes('new'), bytes('y1')])
  const x2 = async (keys: readonly string[]) => keys.map((key) => (key === 'x' ? bytes('x2') : bytes('wrong')))
  expect(await cache.readMany(['x', 'k', 'y'], x2)).toEqual([bytes('x2'), bytes('new'), bytes('y1')])
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
  for (let i = 0; i < 100; i++) {
    await cache.read(`k${i}`, async () => value)
    expect(cache.bytes).toBeLessThanOrEqual(20_000)
    expect(await cache.read('k0', absent)).toBe(value)
  }
  expect(cache.bytes).toBeGreaterThan(10_000)
  expect(await cache.read('k99', absent)).toBe(value)
  expect(await cache.read('k1', absent)).toBeUndefined()
  await cache.read('large', async () => Buffer.alloc(3000))
  expect(await cache.read('large', absent)).toBeUndefined()
  const none = readCache(0)
  await none.read('k', async () => value)
  expect(none.bytes).toBe(0)
})

test('takes in what is read, not what is merely written', async () => {
  const cache = readCache(20_000)
  cache.written('k', bytes('1'))
  expect(cache.bytes).toBe(0)
  expect(await cache.read('k', async () => bytes('1'))).toEqual(bytes('1'))
  cache.written('k', bytes('2'))
  expect(await cache.read('k', absent)).toEqual(bytes('2'))
})

test('a key is never served older than it was last written, whichever generation held it', async () => {
  const cache = readCache(20_000)
  const others = async () => {
    for (let i = 0; i < 20; i++) await cache.read(`k${i}`, async () => Buffer.alloc(200))
  }
  await cache.read('k', async () => bytes('1'))
  await others()
  cache.written('k', bytes('2'))
  await others()
  expect(await cache.read('k', absent)).toEqual(bytes('2'))
  await others()
  cache.written('k', undefined)
  expect(await cache.read('k', async () => bytes('3'))).toEqual(bytes('3'))
})

test('the byte count is that of what is held', async () => {
  const step = fc.tuple(
    fc.integer({ min: 0, max: 30 }).map((number) => `k${number}`),
    fc.option(fc.integer({ min: 0, max: 400 }), { nil: undefined }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 100 }), fc.array(fc.nat(99)), async (steps, writes) => {
      const cache = readCache(10_000)
      for (const [place, [key, size]] of steps.entries()) {
        const value = size === undefined ? undefined : Buffer.alloc(size)
        if (writes.includes(place)) cache.written(key, value)
        else await cache.read(key, async () => value)
      }
      expect(cache.bytes).toBeLessThanOrEqual(10_000)
      for (let number = 0; number <= 30; number++) cache.forget(`k${number}`)
      expect(cache.bytes).toBe(0)
    }),
  )
})
