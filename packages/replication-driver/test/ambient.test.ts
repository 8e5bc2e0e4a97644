import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const AMBIENT =
  /\b(Date\.now|performance\.now|Math\.random|setTimeout|setInterval|setImmediate)\b|\bnew Date\(\)|node:timers|(?<!\.)\brandom(Bytes|UUID)\(/
/** Where the system's time and chance come in; everything else takes a `Runtime`, or functions of it. */
const SOURCES = ['replication-driver/src/runtime.ts', 'storage/src/optimistic-store.ts', 'storage/src/store.ts']

test.each(['replication', 'replication-driver', 'storage', 'storage-classes', 'paths-filter'])(
  'time and chance in %s are injected, so that a simulation can repeat itself',
  (name) => {
    const found: string[] = []
    const folder = new URL(`../../${name}/src/`, import.meta.url)
    for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts') || file.endsWith('.test.ts') || file.startsWith('compliance/')) continue
      if (SOURCES.includes(`${name}/src/${file}`)) continue
      const lines = readFileSync(new URL(file, folder), 'utf8').split('\n')
      for (const line of lines) if (AMBIENT.test(line) && !/^\s*(\/\/|\*)/.test(line)) found.push(`${file}: ${line}`)
    }
    expect(found).toEqual([])
  },
)
