import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeBody, encodeFrame, frameReader, parseAddress } from '../src/index.ts'
import { isPlainMessage } from '../src/message-shape.ts'

const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, false, undefined),
    fc.integer(),
    fc.maxSafeInteger(),
    // MessagePack writes whole numbers as integers, which have no -0.
    fc.double({ noNaN: true }).map((number) => number + 0),
    fc.string({ unit: 'binary' }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 20, noNullPrototype: true },
    ),
  ),
})).value

test('what is encoded decodes, however the bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(value, { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(50), { minLength: 1 }),
      (values, cuts) => {
        const wire = Buffer.concat(values.map((value) => encodeFrame(value)))
        const decoded: unknown[] = []
        const reader = frameReader(1 << 20, (body) => decoded.push(decodeBody(body)))
        let at = 0
        for (let i = 0; at < wire.length; i++) {
          const size = cuts[i % cuts.length]! + 1
          reader.push(wire.subarray(at, at + size))
          at += size
        }
        expect(decoded).toEqual(values)
        expect(reader.idle).toBe(true)
      },
    ),
  )
})

test('no bytes make the decoder misbehave', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.tuple(value, fc.nat(), fc.nat(255)).map(([value, at, byte]) => {
      const body = encodeFrame(value).subarray(4)
      body[at % body.length] = byte
      return body
    }),
  )
  fc.assert(
    fc.property(bytes, (bytes) => {
      try {
        decodeBody(Buffer.from(bytes))
      } catch (error) {
        expect(error).toMatchObject({ code: 'TRANSPORT_BAD_FRAME' })
      }
    }),
    { numRuns: 2000 },
  )
})

test('nesting is bounded', () => {
  expect(isPlainMessage(Buffer.from([...Array(30).fill(0x91), 0xc0]))).toBe(true)
  expect(isPlainMessage(Buffer.from([...Array(100_000).fill(0x91), 0xc0]))).toBe(false)
})

test('an oversized message is refused when encoded', () => {
  expect(() => encodeFrame('x'.repeat(100), 50)).toThrow(expect.objectContaining({ code: 'TRANSPORT_BAD_FRAME' }))
})

test.each([
  ['10.0.0.1:8300', '10.0.0.1', 8300],
  ['https://vault.example.com:8201', 'vault.example.com', 8201],
  ['vault-0', 'vault-0', 8201],
  ['[2001:db8::1]', '2001:db8::1', 8201],
  ['https://[::1]:9', '::1', 9],
])('address %s', (text, host, port) => {
  expect(parseAddress(text)).toMatchObject({ host, port })
})
