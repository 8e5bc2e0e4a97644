// Only an envelope that was made with the key opens; any other bytes end in one of the two documented errors.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SealError, staticKeySeal } from './index.ts'

const seal = staticKeySeal({ keyId: 'now', key: new Uint8Array(32).fill(1) })
const runs = { numRuns: process.env.SLOW ? 20_000 : 500 }

async function refused(envelope: Uint8Array): Promise<void> {
  const error = await seal.decrypt(envelope).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(SealError)
  expect(['SEAL_UNKNOWN_KEY', 'SEAL_DECRYPTION_FAILED']).toContain((error as SealError).code)
}

test('an envelope with any byte changed, cut off or added is refused', async () => {
  const plaintext = fc.uint8Array({ maxLength: 64 })
  const change = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.constantFrom('flip', 'cut', 'add'))
  await fc.assert(
    fc.asyncProperty(plaintext, change, async (text, [place, byte, how]) => {
      const envelope = Buffer.from(await seal.encrypt(text))
      expect(new Uint8Array(await seal.decrypt(envelope))).toEqual(new Uint8Array(text))
      const at = place % envelope.length
      if (how === 'flip') envelope[at]! ^= byte
      if (how === 'cut') return refused(envelope.subarray(0, at))
      if (how === 'add')
        return refused(Buffer.concat([envelope.subarray(0, at), Buffer.from([byte]), envelope.subarray(at)]))
      return refused(envelope)
    }),
    runs,
  )
})

test('arbitrary bytes are refused', async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.uint8Array({ maxLength: 80 }).map((rest) => Uint8Array.of(1, 3, 110, 111, 119, ...rest)),
  )
  await fc.assert(
    fc.asyncProperty(bytes, (envelope) => refused(envelope)),
    runs,
  )
})
