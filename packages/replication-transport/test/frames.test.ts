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

test('a stream of damaged frames, however it is cut, gives whole bodies within the limit or the one error', () => {
  const MOST = 200
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 })
  const streams = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.tuple(fc.array(value, { maxLength: 5 }), damage).map(([values, changes]) => {
      const wire = Buffer.concat(values.map((value) => encodeFrame(value)))
      for (const [at, byte] of changes) if (wire.length > 0) wire[at % wire.length] = byte
      return wire
    }),
  )
  const read = (wire: Buffer, cuts: readonly number[]): { bodies: string[]; idle: boolean; refused: boolean } => {
    const bodies: string[] = []
    const reader = frameReader(MOST, (body) => bodies.push(body.toString('hex')))
    let refused = false
    try {
      for (let at = 0, i = 0; at < wire.length; i++) {
        const size = cuts[i % cuts.length]! + 1
        reader.push(wire.subarray(at, at + size))
        at += size
      }
    } catch (error) {
      expect(error).toMatchObject({ code: 'TRANSPORT_BAD_FRAME' })
      refused = true
    }
    return { bodies, idle: refused || reader.idle, refused }
  }
  fc.assert(
    fc.property(streams, fc.array(fc.nat(50), { minLength: 1 }), (wire, cuts) => {
      const found = read(wire, cuts)
      for (const body of found.bodies) expect(body.length / 2).toBeLessThanOrEqual(MOST)
      // What the stream means does not depend on how it is cut.
      expect(found).toEqual(read(wire, [wire.length]))
      if (found.refused) return
      const used = found.bodies.reduce((sum, body) => sum + 4 + body.length / 2, 0)
      expect(found.idle).toBe(used === wire.length)
    }),
    { numRuns: process.env.SLOW ? 20_000 : 1000 },
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
