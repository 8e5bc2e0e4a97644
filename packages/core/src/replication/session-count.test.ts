import { expect, test } from 'vitest'
import { sessionCount } from './session-count.ts'

type Shown = Parameters<ReturnType<typeof sessionCount>['observe']>[0]

const connecting = (rounds: number): Shown => ({ connectionState: 'connecting', state: 'idle', rounds })
const ready = (state: Shown['state'], rounds: number): Shown => ({ connectionState: 'ready', state, rounds })

test('a link that streams before any comparison resumed; comparisons are counted over all links', () => {
  const count = sessionCount()
  const see = (...shown: Shown[]): [number, number] => {
    for (const one of shown) count.observe(one)
    return [count.resumed(), count.compared()]
  }
  expect(see(connecting(0), ready('merkle-diff', 1), ready('stream-wals', 1))).toEqual([0, 1])
  // The state of the link that ended is shown on until the next one.
  expect(see(connecting(1), connecting(1))).toEqual([0, 1])
  expect(see(ready('stream-wals', 0), ready('stream-wals', 0))).toEqual([1, 1])
  expect(see(ready('merkle-diff', 0), ready('stream-wals', 1))).toEqual([1, 2])
  // A comparison that ended with its link.
  expect(see(connecting(1), ready('merkle-diff', 0), connecting(1))).toEqual([1, 3])
  expect(see(ready('stream-wals', 0))).toEqual([2, 3])
})
