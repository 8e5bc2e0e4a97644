import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BarrierError, nobleAead, nodeAead } from './index.ts'

interface Vector {
  source: string
  key: string
  nonce: string
  aad: string
  plaintext: string
  ciphertext: string
  tag: string
  valid: boolean
}

const providers = { nodeAead, nobleAead }
const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))
const read = (file: string): Vector[] =>
  JSON.parse(readFileSync(new URL(`../vectors/${file}.json`, import.meta.url), 'utf8')).vectors
const vectors = read('aes-256-gcm')

describe.each(Object.entries(providers))('%s', (_name, provider) => {
  const aead = provider()

  test.each(vectors)('$source', (vector) => check(vector))

  test('the vectors hold valid and invalid cases', () => {
    expect(vectors.filter((vector) => vector.valid).length).toBeGreaterThan(8)
    expect(vectors.filter((vector) => !vector.valid).length).toBeGreaterThan(4)
  })

  test('every flipped bit of every valid vector is refused', () => {
    for (const vector of vectors.filter(({ valid }) => valid)) {
      const sealed = hex(vector.ciphertext + vector.tag)
      for (let bit = 0; bit < sealed.length * 8; bit++) {
        const altered = sealed.slice()
        altered[bit >> 3]! ^= 1 << (bit & 7)
        expect(() => aead.open(hex(vector.key), hex(vector.nonce), altered, hex(vector.aad))).toThrow(BarrierError)
      }
    }
  })

  test.each([0, 16, 24, 31, 33])('a key of %i bytes is refused', (length) => {
    const key = new Uint8Array(length)
    const expected = expect.objectContaining({ code: 'BARRIER_INVALID_KEY' })
    expect(() => aead.seal(key, new Uint8Array(12), new Uint8Array(1), new Uint8Array())).toThrow(expected)
    expect(() => aead.open(key, new Uint8Array(12), new Uint8Array(17), new Uint8Array())).toThrow(expected)
  })

  test.each([0, 8, 11, 13, 16])('a nonce of %i bytes is refused', (length) => {
    const nonce = new Uint8Array(length)
    const expected = expect.objectContaining({ code: 'BARRIER_INVALID_KEY' })
    expect(() => aead.seal(new Uint8Array(32), nonce, new Uint8Array(1), new Uint8Array())).toThrow(expected)
    expect(() => aead.open(new Uint8Array(32), nonce, new Uint8Array(17), new Uint8Array())).toThrow(expected)
  })

  test.each(['wycheproof-aes-256-gcm', 'nist-cavp-aes-256-gcm'])('every vector of %s', (file) => {
    const published = read(file)
    expect(published.filter(({ valid }) => valid).length).toBeGreaterThan(30)
    expect(published.filter(({ valid }) => !valid).length).toBeGreaterThan(20)
    for (const vector of published) check(vector)
  })

  function check({ source, key, nonce, aad, plaintext, ciphertext, tag, valid }: Vector): void {
    const open = () => aead.open(hex(key), hex(nonce), hex(ciphertext + tag), hex(aad))
    if (!valid) {
      expect(open, source).toThrow(
        expect.objectContaining({ code: 'BARRIER_DECRYPTION_FAILED', message: 'the record cannot be decrypted' }),
      )
      return
    }
    expect(Buffer.from(open()).toString('hex'), source).toBe(plaintext)
    const sealed = aead.seal(hex(key), hex(nonce), hex(plaintext), hex(aad))
    expect(Buffer.from(sealed).toString('hex'), source).toBe(ciphertext + tag)
  }
})

test('each provider opens what the other sealed', () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
  fc.assert(
    fc.property(
      bytes(32),
      bytes(12),
      fc.uint8Array({ maxLength: 300 }),
      fc.uint8Array({ maxLength: 60 }),
      (...given) => {
        const [key, nonce, plaintext, associatedData] = given
        const byNode = nodeAead().seal(key, nonce, plaintext, associatedData)
        const byNoble = nobleAead().seal(key, nonce, plaintext, associatedData)
        expect(Buffer.from(byNode).equals(byNoble)).toBe(true)
        expect(Buffer.from(nobleAead().open(key, nonce, byNode, associatedData)).equals(plaintext)).toBe(true)
        expect(Buffer.from(nodeAead().open(key, nonce, byNoble, associatedData)).equals(plaintext)).toBe(true)
      },
    ),
  )
})
