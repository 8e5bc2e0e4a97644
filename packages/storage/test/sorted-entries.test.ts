import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareKeys, prefixEnd } from '../src/index.ts'
import { boundsOf } from '../src/key-range.ts'
import { SortedEntries, type SortedSnapshot } from '../src/sorted-entries.ts'
import { modelScan } from './model.ts'

const value = (text: string) => new TextEncoder().encode(text)
const key = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 4 })

test('compareKeys is the order of the UTF-8 bytes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)))
    }),
    { numRuns: 2000 },
  )
})

test('prefixEnd is the least string behind all with the prefix', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), fc.string({ unit: 'binary' }), (prefix, other) => {
      const end = prefixEnd(prefix)
      const before = end === undefined || compareKeys(other, end) < 0
      expect(other.startsWith(prefix)).toBe(before && compareKeys(other, prefix) >= 0)
    }),
    { numRuns: 2000 },
  )
})

test('entries and all their snapshots agree with a map', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('set', 'set', 'set', 'delete', 'snapshot'), fc.integer({ min: 0, max: 900 })), {
        minLength: 1,
        maxLength: 1500,
        size: 'max',
      }),
      fc.array(
        fc.record({ prefix: fc.option(fc.constantFrom('k1', 'k'), { nil: undefined }), reverse: fc.boolean() }),
        { maxLength: 3 },
      ),
      fc.array(key, { maxLength: 20 }),
      (operations, ranges, odd) => {
        const entries = new SortedEntries()
        const model = new Map<string, string>()
        const snapshots: [SortedSnapshot, Map<string, string>][] = []
        for (const text of odd) {
          entries.set(text, value(text))
          model.set(text, text)
        }
        for (const [operation, number] of operations) {
          const name = `k${number}`
          if (operation === 'snapshot') {
            snapshots.push([entries.snapshot(), new Map(model)])
          } else if (operation === 'set') {
            entries.set(name, value(String(snapshots.length)))
            model.set(name, String(snapshots.length))
          } else {
            entries.delete(name)
            model.delete(name)
          }
        }
        snapshots.push([entries.snapshot(), model])
        for (const [snapshot, state] of snapshots.slice(-4)) {
          for (const { prefix, reverse } of [...ranges, { prefix: undefined, reverse: false }]) {
            const range = prefix === undefined ? { reverse } : { prefix, reverse }
            const found = reverse ? snapshot.descending(boundsOf(range)) : snapshot.ascending(boundsOf(range))
            expect([...found].map(([name, bytes]) => [name, new TextDecoder().decode(bytes)])).toEqual(
              modelScan(state, range),
            )
          }
        }
      },
    ),
    { numRuns: 60 },
  )
})
