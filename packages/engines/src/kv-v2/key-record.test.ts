import fc from 'fast-check'
import { expect, it } from 'vitest'
import { decodeKeyRecord, encodeKeyRecord } from './key-record.ts'

it('survives the round trip', () => {
  const int = fc.nat()
  const metadata = fc.record({
    created: int,
    updated: int,
    current: int,
    oldest: int,
    maxVersions: int,
    casRequired: fc.boolean(),
    deleteVersionAfter: int,
    custom: fc.option(fc.dictionary(fc.string({ unit: 'binary' }), fc.string(), { noNullPrototype: true })),
    versions: fc.array(fc.record({ number: int, created: int, deleted: int, destroyed: fc.boolean() })),
  })
  fc.assert(
    fc.property(metadata, fc.uint8Array(), (meta, currentData) => {
      const decoded = decodeKeyRecord(encodeKeyRecord({ metadata: meta, currentData }))
      expect(decoded.metadata).toEqual(meta)
      expect([...decoded.currentData]).toEqual([...currentData])
    }),
  )
})

it('refuses damaged records', () => {
  for (const bytes of [[], [1], [2, 0, 0, 0, 0], [1, 0, 0, 0, 9, 0]]) {
    expect(() => decodeKeyRecord(Uint8Array.from(bytes))).toThrow(SyntaxError)
  }
})
