/** What every `AutoSeal` must do. Needs no test runner of its own: hand in `test`. */
import { deepStrictEqual, match, notDeepStrictEqual, ok, rejects, strictEqual, throws } from 'node:assert/strict'
import type { AutoSeal } from '../auto-seal.ts'

export interface AutoSealComplianceOptions {
  /** `test` of vitest, node:test and the like. */
  test: (name: string, body: () => Promise<void>) => unknown
  /** A seal with a key of its own, different on every call. It is closed after the test. */
  factory: () => AutoSeal | Promise<AutoSeal>
}

export function autoSealCompliance({ test: define, factory: make }: AutoSealComplianceOptions): void {
  let made: AutoSeal[] = []
  const factory = async (): Promise<AutoSeal> => {
    const seal = await make()
    made.push(seal)
    return seal
  }
  const test = (name: string, body: () => Promise<void>): unknown =>
    define(name, async () => {
      try {
        await body()
      } finally {
        const seals = made
        made = []
        for (const seal of seals) await seal.close()
      }
    })

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

  test('auto seal: an envelope names its key, and damage is no reason to crash', async () => {
    const seal = await factory()
    const envelope = await seal.encrypt(pattern(32))
    strictEqual(seal.keyIdOf(envelope), seal.keyId)
    throws(() => seal.keyIdOf(new Uint8Array()), isRefusal)
    for (let length = 1; length < envelope.length; length++) {
      try {
        seal.keyIdOf(envelope.subarray(0, length))
      } catch (error) {
        ok(isRefusal(error))
      }
    }
  })

  test('auto seal: concurrent calls do not mix', async () => {
    const seal = await factory()
    const plaintexts = Array.from({ length: 8 }, (_, index) => pattern(16 + index))
    const envelopes = await Promise.all(plaintexts.map((plaintext) => seal.encrypt(plaintext)))
    const opened = await Promise.all(envelopes.map((envelope) => seal.decrypt(envelope)))
    deepStrictEqual(opened.map(bytes), plaintexts.map(bytes))
  })

  test('auto seal: closed, it does nothing any more', async () => {
    const seal = await factory()
    const envelope = await seal.encrypt(pattern(32))
    await seal.close()
    await seal.close()
    await rejects(seal.decrypt(envelope), isSealError)
    await rejects(seal.encrypt(pattern(32)), isSealError)
  })

  test('auto seal: refuses an envelope of another key', async () => {
    const seal = await factory()
    const other = await factory()
    const envelope = await other.encrypt(pattern(32))
    await rejects(seal.decrypt(envelope), isRefusal)
  })
}

function isSealError(error: unknown): boolean {
  return error instanceof Error && String((error as { code?: unknown }).code).startsWith('SEAL_')
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
