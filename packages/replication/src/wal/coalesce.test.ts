import { expect, test } from 'vitest'
import { entryBatch } from './coalesce.ts'

const put = (partition: string, key: string, text: string) => {
  return { partition, mountPath: 'p/', key, value: Buffer.from(text) as Uint8Array | null }
}
const removal = (partition: string, key: string) => ({ partition, mountPath: 'p/', key, value: null })

test('of several operations on a key the outcome counts', () => {
  const batch = entryBatch()
  batch.add(put('local/a', 'k', 'one'))
  batch.add(put('local/a', 'other', 'x'))
  batch.add(removal('local/a', 'k'))
  batch.add(put('local/a', 'k', 'two'))
  expect(batch.size).toBe(2)
  expect([...batch.entries()]).toEqual([put('local/a', 'k', 'two'), put('local/a', 'other', 'x')])
  expect(batch.bytes).toBe(2 * 16 + 'k'.length + 'two'.length + 'other'.length + 1)
})

test('a key that moved and was then deleted is deleted from wherever it has been', () => {
  const batch = entryBatch()
  batch.add(removal('local/a', 'k'))
  batch.add(put('replicated/a', 'k', 'moved'))
  batch.add(removal('replicated/a', 'k'))
  expect([...batch.entries()]).toEqual([removal('local/a', 'k'), removal('replicated/a', 'k')])
})

test('a key that went around is deleted from every place but the last', () => {
  const batch = entryBatch()
  for (const place of ['a', 'b', 'c', 'a', 'b']) {
    batch.add(put(`local/${place}`, 'k', place))
    batch.add(removal(`local/${place}`, 'k'))
  }
  batch.add(put('local/c', 'k', 'last'))
  const removals = [...batch.entries()].slice(0, -1)
  expect(removals.map(({ partition, value }) => [partition, value]).sort()).toEqual([
    ['local/a', null],
    ['local/b', null],
  ])
  expect([...batch.entries()].at(-1)).toEqual(put('local/c', 'k', 'last'))
})

test('a key that moved is deleted where it was, then put where it went', () => {
  const batch = entryBatch()
  batch.add(put('replicated/a', 'other', 'x'))
  batch.add(removal('local/a', 'k'))
  batch.add(put('replicated/a', 'k', 'moved'))
  expect([...batch.entries()]).toEqual([
    removal('local/a', 'k'),
    put('replicated/a', 'other', 'x'),
    put('replicated/a', 'k', 'moved'),
  ])
})

test('batches joined at the other end come out as one batch would have', () => {
  const operations = [
    [removal('local/a', 'k'), put('replicated/a', 'k', 'moved'), put('replicated/a', 'j', 'x')],
    [removal('replicated/a', 'k'), put('local/b', 'j', 'y')],
  ]
  const joined = entryBatch()
  const whole = entryBatch()
  for (const some of operations) {
    const batch = entryBatch()
    for (const each of some) {
      batch.add(each)
      whole.add(each)
    }
    for (const group of batch.groups()) joined.addGroup(group)
  }
  expect([...joined.entries()]).toEqual([...whole.entries()])
  expect([...joined.entries()]).toContainEqual(removal('local/a', 'k'))
})

test('groups by partition and mount path, and back', () => {
  const batch = entryBatch()
  batch.add(put('local/a', 'k1', '1'))
  batch.add(put('local/b', 'k2', '2'))
  batch.add(removal('local/a', 'k3'))
  batch.add({ ...put('local/a', 'k4', '4'), mountPath: 'q/' })
  const groups = batch.groups()
  expect(groups.map(({ partition, mountPath, keys }) => [partition, mountPath, keys])).toEqual([
    ['local/a', 'p/', ['k1', 'k3']],
    ['local/b', 'p/', ['k2']],
    ['local/a', 'q/', ['k4']],
  ])
  const again = entryBatch()
  for (const group of groups) again.addGroup(group)
  const byKey = (batch: Iterable<{ key: string }>) => [...batch].sort((a, b) => (a.key < b.key ? -1 : 1))
  expect(byKey(again.entries())).toEqual(byKey(batch.entries()))
})
