/**
 * Records on their way: encoded, decoded, made into batches at one end and into one write at the other, cut anywhere. A store that
 * takes the writes ends up as one that took every operation by itself.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parsePartitionId, partitionId, type WalOperation, type WalRecord } from '../types.ts'
import { type Entry, entryBatch } from './coalesce.ts'
import { decodeRecord, encodeRecord } from './record-codec.ts'

type Store = Map<string, string>

/** As a store does it: a key is in one partition, and a deletion from another one does nothing. */
function write(store: Store, partition: string, key: string, value: Uint8Array | null | undefined): void {
  const name = `${partition} ${key}`
  if (value) store.set(name, Buffer.from(value).toString('hex'))
  else store.delete(name)
}

const key = fc.constantFrom('a', 'b', 'c', 'д')
const place = fc.constantFrom('replicated/m', 'local/m', 'replicated/n')
type Step = { key: string; place: string; value: Uint8Array | null }
const step: fc.Arbitrary<Step> = fc.record({ key, place, value: fc.option(fc.uint8Array({ maxLength: 3 })) })

/** What a log says of steps: a key that moves is deleted where it was, before it is put where it goes. */
function recordsOf(steps: readonly (readonly Step[])[]): WalRecord[] {
  const places = new Map<string, string>()
  return steps.map((transaction, index) => {
    const operations: WalOperation[] = []
    const log = (id: string, name: string, value: Uint8Array | null) =>
      operations.push({ partition: parsePartitionId(id)!, mountPath: 'm/', key: name, value: value ?? undefined })
    for (const { key: name, place: id, value } of transaction) {
      const was = places.get(name)
      if (value === null) {
        if (was !== undefined) log(was, name, null)
        places.delete(name)
      } else {
        if (was !== undefined && was !== id) log(was, name, null)
        log(id, name, value)
        places.set(name, id)
      }
    }
    return { epoch: 1, index: index + 1, operations }
  })
}

const entryOf = ({ partition, mountPath, key: name, value }: WalOperation): Entry => {
  return { partition: partitionId(partition), mountPath, key: name, value: value ?? null }
}

test('records that are encoded, batched, grouped and joined leave what the records themselves leave', () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 })
  fc.assert(
    fc.property(
      fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 12 }),
      cuts,
      cuts,
      (steps, sent, applied) => {
        const records = recordsOf(steps)
        const expected: Store = new Map()
        for (const { operations } of records) {
          for (const each of operations) write(expected, partitionId(each.partition), each.key, each.value)
        }

        let left = records.map((record) => decodeRecord(encodeRecord(record)))
        const messages = []
        for (let n = 0; left.length > 0; n++) {
          const batch = entryBatch()
          const count = sent[n % sent.length]!
          for (const { operations } of left.slice(0, count)) for (const each of operations) batch.add(entryOf(each))
          messages.push(batch.groups())
          left = left.slice(count)
        }

        const store: Store = new Map()
        for (let n = 0, at = 0; at < messages.length; n++) {
          const joined = entryBatch()
          const count = applied[n % applied.length]!
          for (const groups of messages.slice(at, at + count)) for (const group of groups) joined.addGroup(group)
          for (const each of joined.entries()) write(store, each.partition, each.key, each.value)
          at += count
        }
        expect([...store].sort()).toEqual([...expected].sort())
      },
    ),
    { numRuns: process.env.SLOW ? 5000 : 300 },
  )
})
