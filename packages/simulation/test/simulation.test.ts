import { expect, test } from 'vitest'
import { simulate } from '../src/index.ts'

test('a seed run twice is the same run, to the last event', { timeout: 120_000 }, async () => {
  for (const seed of [1, 2, 3]) {
    const lines: string[][] = [[], []]
    const first = await simulate(seed, { print: (line) => lines[0]!.push(line) })
    const second = await simulate(seed, { print: (line) => lines[1]!.push(line) })
    expect(lines[1]).toEqual(lines[0])
    expect(second).toEqual(first)
    expect(first.events).toBeGreaterThan(100)
  }
})

test('other seeds are other runs, and the invariants hold in them', { timeout: 120_000 }, async () => {
  const outcomes = []
  for (let seed = 100; seed < 115; seed++) outcomes.push(await simulate(seed))
  expect(outcomes.filter(({ failure }) => failure)).toEqual([])
  expect(new Set(outcomes.map(({ hash }) => hash)).size).toBe(outcomes.length)
  expect(outcomes.some(({ acknowledged }) => acknowledged > 50)).toBe(true)
})
