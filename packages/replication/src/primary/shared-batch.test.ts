import { expect, test } from 'vitest'
import type { WalRecord } from '../types.ts'
import { genesisCursor } from '../wal/cursor.ts'
import { shippedBatch, walMessage } from './shared-batch.ts'

const records: WalRecord[] = [
  {
    epoch: 1,
    index: 1,
    operations: [
      { partition: { class: 'replicated', mount: 'kv' }, mountPath: 'kv/', key: 'kv/a', value: new Uint8Array([1]) },
      { partition: { class: 'replicated', mount: 'pki' }, mountPath: 'pki/', key: 'pki/a', value: undefined },
    ],
  },
]
const all = { shipsOperation: () => true }
const noPki = { shipsOperation: ({ mountPath }: { mountPath: string }) => mountPath !== 'pki/' }

test('two secondaries that get everything share the entries, one with a filter gets its own', () => {
  const one = shippedBatch(records, all)
  expect(shippedBatch(records, all)).toBe(one)
  const filtered = shippedBatch(records, noPki)
  expect(filtered.groups.map(({ partition }) => partition)).toEqual(['replicated/kv'])
  expect(one.groups.map(({ partition }) => partition)).toEqual(['replicated/kv', 'replicated/pki'])
  // In whatever order they ask.
  expect(shippedBatch(records, all)).toBe(one)
})

test('a message is shared only when it says the same', () => {
  const { groups } = shippedBatch(records, all)
  const after = genesisCursor()
  const cursor = { ...after, index: 1 }
  const batch = { after, cursor, head: 1, groups, guard: null }
  const message = walMessage(0, batch, true)
  expect(walMessage(0, { ...batch }, true)).toBe(message)
  for (const [round, other, verifying] of [
    [1, batch, true],
    [0, { ...batch, head: 2 }, true],
    [0, { ...batch, guard: new Uint8Array(32) }, true],
    [0, { ...batch, cursor: { ...cursor, epoch: 2 } }, true],
    [0, { ...batch, after: { ...after, digest: new Uint8Array(32) } }, true],
    [0, batch, false],
  ] as const) {
    const different = walMessage(round, other, verifying)
    expect(different).not.toBe(message)
    expect(different).toMatchObject({
      round,
      head: other.head,
      guard: other.guard,
      cursor: other.cursor,
      after: verifying ? other.after : null,
    })
    expect(different.digest === null).toBe(!verifying)
  }
  // One with a guard is never handed out again: the state it proves may be another by then.
  const guarded = { ...batch, guard: new Uint8Array(32) }
  expect(walMessage(0, guarded, true)).not.toBe(walMessage(0, guarded, true))
})
