import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { formatScenario, parseScenario, scenario } from './scenario.ts'

const folder = fileURLToPath(new URL('../testdata/', import.meta.url))

describe('testdata', () => {
  test.each(readdirSync(folder).filter((name) => name.endsWith('.txt')))('%s', (name) => {
    const { title, blocks } = parseScenario(readFileSync(folder + name, 'utf8'))
    const { play } = scenario()
    const played = blocks.map(({ commands }) => ({ commands, expected: play(commands) }))
    if (process.env.UPDATE_TESTDATA) writeFileSync(folder + name, formatScenario(title, played))
    else expect(formatScenario(title, played)).toBe(formatScenario(title, blocks))
  })
})
