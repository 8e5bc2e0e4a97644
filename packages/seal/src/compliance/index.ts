/** What every `AutoSeal` must do. Needs no test runner of its own: hand in `test`. */
import { deepStrictEqual, match, notDeepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import type { AutoSeal } from '../auto-seal.ts'

export interface AutoSealComplianceOptions {
  /** `test` of vitest, node:test and the like. */
  test: (name: string, body: () => Promise<void>) => unknown
  /** A seal with a key of its own, different on every call. */
  factory: () => AutoSeal | Promise<AutoSeal>
}

export function autoSealCompliance({ test, factory }: AutoSealComplianceOptions): void {
  test('auto seal: has a type and a key id', async () => {
    const seal = await factory()
    match(seal.type, /^[a-z][a-z0-9_-]*$/)
    ok(seal.keyId.length > 0)
  })

  for (const length of [0, 1, 32, 33, 4096]) {
    test(`auto seal: gives back ${length} bytes`, async () => {
      const seal = await factory()
      const plaintext = pattern(length)
      deepStrictEqual(bytes(await seal.decrypt(await seal.encrypt(plaintext))), bytes(plaintext))
    })
  }

  test('auto seal: leaves the plaintext as it was, and does not show it', async () => {
    const seal = await factory()
    const plaintext = pattern(64)
    const envelope = await seal.encrypt(plaintext)
    deepStrictEqual(bytes(plaintext), bytes(pattern(64)))
    strictEqual(Buffer.from(envelope).includes(Buffer.from(plaintext.subarray(0, 16))), false)
  })

  test('auto seal: encrypting twice gives two envelopes', async () => {
    const seal = await factory()
    notDeepStrictEqual(bytes(await seal.encrypt(pattern(32))), bytes(await seal.encrypt(pattern(32))))
  })

  test('auto seal: refuses an envelope with any byte altered', async () => {
    const seal = await factory()
    const envelope = await seal.encrypt(pattern(32))
    for (let i = 0; i < envelope.length; i++) {
      const altered = envelope.slice()
      altered[i]! ^= 1
      await rejects(seal.decrypt(altered), isRefusal)
    }
  })

  test('auto seal: refuses an envelope cut short, extended or empty', async () => {
    const seal = await factory()
    const envelope = await seal.encrypt(pattern(32))
    for (let length = 0; length < envelope.length; length++) {
      await rejects(seal.decrypt(envelope.subarray(0, length)), isRefusal)
    }
    await rejects(seal.decrypt(Uint8Array.of(...envelope, 0)), isRefusal)
  })

  test('auto seal: refuses an envelope of another key', async () => {
    const seal = await factory()
    const other = await factory()
    const envelope = await other.encrypt(pattern(32))
    await rejects(seal.decrypt(envelope), isRefusal)
  })
}

function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as { code?: unknown }
  return code === 'SEAL_DECRYPTION_FAILED' || code === 'SEAL_UNKNOWN_KEY'
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + 1) & 0xff)
}

function bytes(value: Uint8Array): number[] {
  return [...value]
}
