import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Wal } from '../messages.ts'
import { batchDigest } from '../wal/batch-digest.ts'
import { describeFault, streamCheck } from './stream-check.ts'

const cursor = (index: number, history = 1) => ({ epoch: 1, index, digest: new Uint8Array(32).fill(history) })

function batch(after: number, index: number, change: Partial<Wal> = {}): Wal {
  const group = {
    partition: 'replicated/m',
    mountPath: 'm/',
    keys: [`k${index}`, 'gone'],
    values: [Uint8Array.of(index), null],
  }
  const signed = {
    after: cursor(after),
    cursor: cursor(index),
    head: index,
    groups: [group],
    guard: new Uint8Array(32),
    ...change,
  }
  return { type: 'wal', round: 0, ...signed, digest: batchDigest({ ...signed, after: signed.after! }) }
}

test('batches in order are in order', () => {
  const check = streamCheck(cursor(5), true)
  expect([batch(5, 7), batch(7, 7), batch(7, 12)].map(check.next)).toEqual([undefined, undefined, undefined])
  expect(check.received).toEqual(cursor(12))
})

test.each<[string, string, Wal]>([
  ['gap', 'is missing: records after index 5 up to 7', batch(7, 9)],
  ['repeated', 'came again: records after index 3 up to 5', batch(3, 5)],
  ['history', 'continues another history at index 5: records up to 9', batch(5, 9, { after: cursor(5, 2) })],
  ['content', 'was damaged on the way: records after index 5 up to 9', { ...batch(5, 9), head: 10 }],
  ['content', 'was damaged on the way', { ...batch(5, 9), digest: null }],
  ['content', 'was damaged on the way', { ...batch(5, 9), after: null }],
])('%s: %s', (reason, words, wal) => {
  const check = streamCheck(cursor(5), true)
  const fault = check.next(wal)
  expect(fault?.reason).toBe(reason)
  expect(describeFault(fault!)).toMatch(words)
  expect(check.received).toEqual(cursor(5))
})

test('version 1 says nothing of itself, so there is nothing to check', () => {
  const check = streamCheck(cursor(5), false)
  expect(check.next({ ...batch(7, 9), after: null, digest: null })).toBeUndefined()
  expect(check.received).toEqual(cursor(9))
})

test('no change of any field goes unnoticed', () => {
  const good = batch(5, 9)
  const [group] = good.groups
  const changed: Partial<Wal>[] = [
    { after: cursor(4) },
    { cursor: cursor(10) },
    { cursor: { ...good.cursor, epoch: 2 } },
    { head: 3 },
    { guard: null },
    { guard: new Uint8Array(32).fill(1) },
    { groups: [] },
    { groups: [group!, group!] },
    { groups: [{ ...group!, partition: 'local/m' }] },
    { groups: [{ ...group!, mountPath: 'n/' }] },
    { groups: [{ ...group!, keys: ['gone', 'k9'] }] },
    { groups: [{ ...group!, values: [Uint8Array.of(9), new Uint8Array(0)] }] },
    { groups: [{ ...group!, values: [Uint8Array.of(9, 0), null] }] },
    { groups: [{ ...group!, keys: ['k9'], values: [Uint8Array.of(9)] }] },
  ]
  for (const change of changed) {
    expect(streamCheck(cursor(5), true).next({ ...good, ...change }), JSON.stringify(change)).toMatchObject({
      reason: 'content',
    })
  }
})

test('the digest is one of the fields, however they are cut and however long they are', () => {
  const text = fc.string({ unit: 'binary', maxLength: 20 })
  const groups = fc.array(
    fc.record({
      partition: text,
      mountPath: text,
      entries: fc.array(fc.tuple(text, fc.option(fc.uint8Array())), { maxLength: 4 }),
    }),
    { maxLength: 4 },
  )
  const wal = (list: { partition: string; mountPath: string; entries: [string, Uint8Array | null][] }[]) => ({
    ...batch(1, 2),
    after: cursor(1),
    groups: list.map(({ partition, mountPath, entries }) => ({
      partition,
      mountPath,
      keys: entries.map(([key]) => key),
      values: entries.map(([, value]) => value),
    })),
  })
  const wellFormed = (value: unknown) => !JSON.stringify(value).includes('\\ud')
  fc.assert(
    fc.property(groups, groups, (a, b) => {
      fc.pre(wellFormed(a) && wellFormed(b))
      const same = JSON.stringify(a) === JSON.stringify(b)
      expect(Buffer.compare(batchDigest(wal(a)), batchDigest(wal(b))) === 0).toBe(same)
    }),
  )
  const long = (fill: number) =>
    wal([{ partition: 'p', mountPath: '', entries: [['k'.repeat(70_000), new Uint8Array(200_000).fill(fill)]] }])
  expect(Buffer.compare(batchDigest(long(1)), batchDigest(long(1)))).toBe(0)
  expect(Buffer.compare(batchDigest(long(1)), batchDigest(long(2)))).not.toBe(0)
})

test('a known digest: changing it is a change of protocol', () => {
  expect(Buffer.from(batch(5, 9).digest!).toString('hex')).toMatchInlineSnapshot(
    `"e488dc79e2f8ebbb6005cb5ccfb33c42eddc2666bced223450f6952e1215a0f4"`,
  )
})
