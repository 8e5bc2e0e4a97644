import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { openKeyring, recordTerm } from './index.ts'

const vectors: {
  rootKey: string
  keyring: string
  records: { path: string; term: number; record: string; plaintext: string }[]
} = JSON.parse(readFileSync(new URL('../vectors/openbao-records.json', import.meta.url), 'utf8'))

const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'))

test('opens the keyring and the records of a real OpenBao', () => {
  const keyring = openKeyring(bytes(vectors.rootKey), bytes(vectors.keyring))
  expect(keyring.activeTerm).toBe(2)
  expect(vectors.records.map(({ term }) => term)).toEqual([1, 2])
  for (const { path, term, record, plaintext } of vectors.records) {
    expect(recordTerm(bytes(record))).toBe(term)
    expect(new TextDecoder().decode(keyring.open(path, bytes(record)))).toBe(plaintext)
    expect(() => keyring.open(`${path}x`, bytes(record))).toThrow('the record cannot be decrypted')
  }
})
