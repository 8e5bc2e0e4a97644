import { expect, test } from 'vitest'
import { addressBook, readAddressRecord } from './address-book.ts'

const DAY_MS = 24 * 60 * 60 * 1000

test('what the primary tells goes before what was given; what answered last is dialled first', () => {
  const book = addressBook(['given:1'], undefined)
  expect([book.all(), book.dialOrder(), book.active(), book.movedAt()]).toEqual([['given:1'], ['given:1'], '', 0])
  expect(book.tell(['a:1', 'b:1'], 10)).toBe(true)
  expect(book.tell(['a:1', 'b:1'], 11)).toBe(false)
  expect(book.all()).toEqual(['a:1', 'b:1', 'given:1'])
  expect(book.reach('given:1')).toBe(true)
  expect(book.reach('given:1')).toBe(false)
  expect(book.dialOrder()).toEqual(['given:1', 'a:1', 'b:1'])
  // The first word of a leader is no failover, the next one's is.
  expect(book.movedAt()).toBe(0)
  book.tell(['b:1', 'a:1'], 12)
  expect([book.active(), book.movedAt()]).toEqual(['b:1', 12])
})

test('nodes that are told of no longer are dialled last, for a day, and not more than eight of them', () => {
  const book = addressBook(['given:1'], undefined)
  book.tell(['a:1', 'b:1'], 0)
  book.tell(['a:1'], 1000)
  expect(book.all()).toEqual(['a:1', 'given:1', 'b:1'])
  book.tell(['a:1', 'c:1'], DAY_MS)
  expect(book.all()).toEqual(['a:1', 'c:1', 'given:1', 'b:1'])
  book.tell(['a:1'], 1000 + DAY_MS)
  expect(book.all()).toEqual(['a:1', 'given:1', 'c:1'])
  book.tell(['a:1', 'c:1'], 1000 + DAY_MS)
  expect(book.all()).toEqual(['a:1', 'c:1', 'given:1'])
  for (let n = 0; n < 20; n++) book.tell(['a:1', `n${n}:1`], 2000 + DAY_MS)
  expect(book.all()).toHaveLength(2 + 1 + 8)
})

test('what is malformed is not dialled, a primary that tells nothing has not moved, and a list is bounded', () => {
  const book = addressBook(['given:1', 'http://not-a-cluster-port:1', 'given:1'], undefined)
  book.tell(['a:1', 'not an address', '', 'a:1', 'x:70000'], 1)
  expect(book.all()).toEqual(['a:1', 'given:1'])
  expect(book.tell([], 2)).toBe(false)
  expect(book.tell(['nonsense at all'], 2)).toBe(false)
  expect(book.active()).toBe('a:1')
  book.tell(
    Array.from({ length: 200 }, (_, n) => `h${n}:1`),
    3,
  )
  expect(book.all()).toHaveLength(64)
})

test('it comes back from what was stored, also by earlier versions, whatever that is', () => {
  const book = addressBook(['given:1'], undefined)
  book.tell(['a:1', 'b:1'], 1)
  book.tell(['b:1'], 2)
  book.reach('b:1')
  const again = addressBook(['given:1'], readAddressRecord(JSON.parse(JSON.stringify(book.record()))))
  expect(again.record()).toEqual(book.record())
  expect(again.dialOrder()).toEqual(['b:1', 'given:1', 'a:1'])
  expect(readAddressRecord(['a:1'])).toEqual({ told: ['a:1'], left: [], reached: '', movedAt: 0 })
  expect(readAddressRecord(undefined)).toBeUndefined()
  const broken = { told: [1, 'a:1'], left: [{ address: 'b:1' }, null], reached: 7, movedAt: 'x' }
  expect(readAddressRecord(broken)).toEqual({ told: ['a:1'], left: [], reached: '', movedAt: 0 })
})
