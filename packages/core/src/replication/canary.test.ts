import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { canary } from './canary.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('it tells when the storage last took a write, and stands still while it takes none', async () => {
  let now = 1000
  let broken = false
  const warned: string[] = []
  const keys: string[] = []
  const probing = canary(
    {
      async put(key) {
        if (broken) throw new Error('the disk is full')
        keys.push(key)
      },
    },
    { now: () => now },
    { debug() {}, info() {}, error() {}, warn: (message) => void warned.push(message) },
  )
  expect(probing.time()).toBe(0)
  await vi.advanceTimersByTimeAsync(0)
  expect(probing.time()).toBe(1000)
  now = 6000
  await vi.advanceTimersByTimeAsync(5000)
  expect(probing.time()).toBe(6000)
  broken = true
  now = 11_000
  await vi.advanceTimersByTimeAsync(5000)
  expect(probing.time()).toBe(6000)
  expect(warned).toEqual(['the storage refused a probing write'])
  await probing.stop()
  broken = false
  await vi.advanceTimersByTimeAsync(60_000)
  expect(keys).toEqual(['core/replication/canary', 'core/replication/canary'])
})
