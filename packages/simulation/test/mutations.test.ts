import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { applied } from '../src/mutate-text.ts'
import { MUTATIONS } from '../src/mutations.ts'

const packages = new URL('../../', import.meta.url)

test('ten planted bugs, each with a name of its own', () => {
  expect(new Set(MUTATIONS.map(({ name }) => name)).size).toBe(10)
})

test.each(['a text a text', 'another'])('a text that is not there exactly once is refused: %s', (source) => {
  expect(() => applied(source, { file: 'f', find: 'a text', replace: '' })).toThrow('not once')
})

describe('planted bugs fit the compiled product', () => {
  for (const { name, edits } of MUTATIONS) {
    for (const edit of edits) {
      const file = new URL(edit.file, packages)
      // Unit tests run without a build; `npm run simulate -- --mutations` checks again, and cannot skip.
      test.skipIf(!existsSync(file))(`${name}: ${edit.file}`, () => {
        const source = readFileSync(file, 'utf8')
        expect(applied(source, edit)).not.toBe(source)
      })
    }
  }
})
