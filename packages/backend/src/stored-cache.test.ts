import { expect, it } from 'vitest'
import { storedCache } from './index.ts'

it('loads once, again after invalidation', async () => {
  const cache = storedCache<{ n: number }>()
  let n = 0
  const load = async () => ({ n: ++n })
  expect(await cache.get('a', load)).toEqual({ n: 1 })
  expect(cache.get('a', load)).toEqual({ n: 1 })
  cache.invalidate('a')
  expect(cache.peek('a')).toBeUndefined()
  expect(await cache.get('a', load)).toEqual({ n: 2 })
})

it('does not keep what was read before a concurrent change', async () => {
  const cache = storedCache<string>()
  let finish = (_value: string) => {}
  const reading = cache.get('a', () => new Promise<string>((resolve) => (finish = resolve)))
  cache.invalidate('a')
  finish('old')
  expect(await reading).toBe('old')
  expect(cache.peek('a')).toBeUndefined()
  expect(await cache.get('a', async () => 'new')).toBe('new')
  expect(cache.peek('a')).toBe('new')
})

it('clearing also covers loads under way', async () => {
  const cache = storedCache<string>()
  let finish = (_value: string) => {}
  const reading = cache.get('a', () => new Promise<string>((resolve) => (finish = resolve)))
  cache.clear()
  finish('old')
  await reading
  expect(cache.peek('a')).toBeUndefined()
})

it('is bounded and does not cache absence', async () => {
  const cache = storedCache<string>({ limit: 2 })
  for (const name of ['a', 'b', 'c']) await cache.get(name, async () => name)
  expect([cache.peek('a'), cache.peek('b'), cache.peek('c')]).toEqual([undefined, 'b', 'c'])
  await cache.get('d', async () => undefined)
  expect(cache.peek('d')).toBeUndefined()
})
