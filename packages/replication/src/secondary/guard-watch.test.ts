import { expect, test } from 'vitest'
import { guardWatch } from './guard-watch.ts'

const cursor = { epoch: 1, index: 1, digest: new Uint8Array(32) }

test('the first failure asks for a diff at once, later ones ever later, a match forgets', () => {
  const guards = guardWatch()
  expect(guards.differed(0)).toBe(true)
  guards.diffing()
  const waits: number[] = []
  for (let n = 0; n < 8; n++) {
    expect(guards.differed(0)).toBe(false)
    expect(guards.differed(0)).toBe(false)
    let now = 0
    while (!guards.due(now)) now += 500
    waits.push(now)
    guards.diffing()
    expect(guards.due(now)).toBe(false)
  }
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000])
  expect(guards.failures).toBe(9)
  guards.matched(cursor)
  expect([guards.failures, guards.verified]).toEqual([0, cursor])
  expect(guards.differed(0)).toBe(true)
})
