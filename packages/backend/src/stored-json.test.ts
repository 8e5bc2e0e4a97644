import { expect, test } from 'vitest'
import { readJson } from './index.ts'

test('a damaged record is named and not quoted', async () => {
  const reader = { get: async () => Buffer.from('-----BEGIN PRIVATE KEY-----') }
  await expect(readJson(reader, 'core/role')).rejects.toThrow(/^the record core\/role is not JSON$/)
})
