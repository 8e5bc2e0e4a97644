import { expect, test } from 'vitest'
import { keyIdOf } from '../merkle/leaf.ts'
import type { Entries } from '../messages.ts'
import { diffFetches } from './diff-fetches.ts'

const keys = ['a', 'b', 'c', 'd', 'e'].sort((one, other) => Buffer.compare(keyIdOf(one), keyIdOf(other)))

function ask() {
  const fetches = diffFetches(1, () => 1)
  fetches.keys(
    'replicated/m',
    keys.map((key) => keyIdOf(key)),
  )
  const request = fetches.next(false)!
  const answer = (present: readonly string[], next: string | null) => {
    const group = {
      partition: 'replicated/m',
      mountPath: '',
      keys: [...present],
      values: present.map(() => Buffer.of(1)),
    }
    const message: Entries = {
      type: 'entries',
      round: 1,
      id: request.id,
      group,
      next: next && keyIdOf(next),
    } as Entries
    return fetches.onAnswer(message)
  }
  return { fetches, answer }
}

test('keys that the primary does not have any more are named', () => {
  const { fetches, answer } = ask()
  expect(answer([keys[1]!, keys[3]!], null)).toEqual({
    gone: [keys[0]!, keys[2]!, keys[4]!].map((key) => keyIdOf(key)),
  })
  expect(fetches.done).toBe(true)
})

test('keys behind a partial answer are still to be asked for, not gone', () => {
  const { fetches, answer } = ask()
  expect(answer([keys[1]!], keys[2]!)).toEqual({ gone: [keys[0]!, keys[2]!].map((key) => keyIdOf(key)) })
  expect(fetches.waitingKeys).toBe(2)
})
