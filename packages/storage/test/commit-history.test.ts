import { expect, test } from 'vitest'
import { CommitHistory } from '../src/commit-history.ts'

const reader = () => ({ snapshot: -1, outdated: false })

test('forgetting old commits keeps what later ones changed again', () => {
  const history = new CommitHistory(1000)
  const [old, young] = [reader(), reader()]
  history.open(old)
  for (let i = 0; i < 100; i++) history.record([`k${i % 70}`])
  history.open(young)
  history.record(['k5', 'new'])
  history.close(old)
  expect(history.changedSince('k5', young.snapshot)).toBe(true)
  expect(history.changedSince('k6', young.snapshot)).toBe(false)
  expect(history.changesSince(young.snapshot, () => true)).toEqual(['k5', 'new'])
  history.close(young)
  expect(history.changesSince(0, () => true)).toEqual([])
})

test('without open snapshots nothing is remembered', () => {
  const history = new CommitHistory(1000)
  history.record(['a'])
  const later = reader()
  history.open(later)
  expect(history.changedSince('a', later.snapshot)).toBe(false)
  expect(history.changesSince(0, () => true)).toEqual([])
})
