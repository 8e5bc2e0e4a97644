import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeEnvelope, envelopeHeader, keyText } from '../src/envelope.ts'

const runs = { numRuns: process.env.SLOW ? 100_000 : 1000 }

test('any bytes are one envelope, or none', () => {
  const plausible = fc
    .tuple(
      fc.string({ maxLength: 20 }),
      fc.uint8Array({ maxLength: 20 }),
      fc.uint8Array({ maxLength: 60, size: 'max' }),
    )
    .map(([label, id, rest]) => new Uint8Array(Buffer.concat([envelopeHeader({ label, id: Buffer.from(id) }), rest])))
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
      expect(keyText(envelope.key)).not.toBe('')
      expect(Buffer.concat([envelopeHeader(envelope.key), envelope.iv, envelope.ciphertext])).toEqual(
        Buffer.from(bytes),
      )
    }),
    runs,
  )
  expect(decoded).toBeGreaterThan(0)
})
