import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ciphertextOf, decodeEnvelope, encodeEnvelope } from '../src/envelope.ts'

const runs = { numRuns: process.env.SLOW ? 100_000 : 1000 }

test('any bytes are one ciphertext of transit, or none', () => {
  const plausible = fc
    .tuple(
      fc.constantFrom(0, 1, 2),
      fc.constantFrom(0, 1, 2),
      fc.nat(2 ** 32 - 1),
      fc.uint8Array({ maxLength: 64, size: 'max' }),
    )
    .map(([version, bound, key, rest]) => {
      const header = Buffer.from([version, bound, 0, 0, 0, 0])
      header.writeUInt32BE(key, 2)
      return new Uint8Array(Buffer.concat([header, rest]))
    })
  let decoded = 0
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 80, size: 'max' }), plausible), (bytes) => {
      let envelope: ReturnType<typeof decodeEnvelope>
      try {
        envelope = decodeEnvelope(bytes)
      } catch (error) {
        expect(error).toMatchObject({ code: 'SEAL_DECRYPTION_FAILED' })
        return
      }
      decoded++
      expect(encodeEnvelope(ciphertextOf(envelope), envelope.bound)).toEqual(bytes)
    }),
    runs,
  )
  expect(decoded).toBeGreaterThan(0)
})

test('any answer is one envelope, or none', () => {
  const body = fc.uint8Array({ maxLength: 64, size: 'max' }).map((bytes) => Buffer.from(bytes).toString('base64'))
  const answer = fc.oneof(
    fc.anything(),
    fc
      .tuple(fc.constantFrom('vault:v', 'bao:v', ''), fc.oneof(fc.nat().map(String), fc.string()), body)
      .map(([prefix, version, text]) => `${prefix}${version}:${text}`),
  )
  fc.assert(
    fc.property(answer, (text) => {
      let bytes: Uint8Array
      try {
        bytes = encodeEnvelope(text, true)
      } catch (error) {
        expect(error).toMatchObject({ code: 'SEAL_UNAVAILABLE' })
        return
      }
      const parts = ciphertextOf(decodeEnvelope(bytes)).split(':')
      expect([parts[1], Buffer.from(parts[2]!, 'base64')]).toEqual([
        String(text).split(':')[1],
        Buffer.from(String(text).split(':')[2]!, 'base64'),
      ])
    }),
    runs,
  )
})
