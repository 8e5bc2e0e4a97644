import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { childName, compareKeys } from '@lockstep/storage'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type LevelEngine, levelEngine } from '../src/index.ts'

let directory: string
let engine: LevelEngine

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lockstep-list-'))
  engine = await levelEngine({ path: join(directory, 'data') })
})

afterEach(async () => {
  await engine.close()
  await rm(directory, { recursive: true })
})

test('listing jumps over full folders without losing or repeating children', async () => {
  let run = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 150 })), { maxLength: 12 }),
      fc.option(fc.integer({ min: 0, max: 31 }), { nil: undefined }),
      fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined }),
      async (folders, after, limit) => {
        const prefix = `run${run++}/`
        const keys = new Set<string>()
        for (const [folder, size] of folders) {
          if (size % 3 === 0) keys.add(`${prefix}${folder}`)
          for (let i = 0; i < size; i++) keys.add(`${prefix}${folder}/${i}/x`)
        }
        await engine.write([...keys].map((key) => ({ type: 'put', key, value: new Uint8Array() })))
        const options = { ...(after === undefined ? {} : { after: `${after}/` }), ...(limit && { limit }) }
        const expected = [...new Set([...keys].map((key) => childName(prefix, key)))]
          .sort(compareKeys)
          .filter((name) => after === undefined || compareKeys(name, `${after}/`) > 0)
          .slice(0, limit)
        expect(await engine.list!(prefix, options)).toEqual(expected)
      },
    ),
    { numRuns: 40 },
  )
})
