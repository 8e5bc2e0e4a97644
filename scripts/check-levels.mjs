// Breaks each level rule of the design on purpose and expects the lint to refuse it: a rule that catches nothing is no rule.
import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'

const forbidden = [
  ['packages/storage', '@lockstep/barrier'],
  ['packages/replication', 'node:net'],
  ['packages/replication', 'node:fs'],
  ['packages/replication', '@lockstep/storage'],
  ['packages/barrier', '@lockstep/core'],
  ['packages/storage-level', '@lockstep/barrier'],
  ['packages/seal-transit', '@lockstep/barrier'],
  ['packages/seal-pkcs11', '@lockstep/seal-transit'],
  ['packages/engines', '@lockstep/core'],
  ['packages/engines', '@lockstep/barrier'],
  ['packages/auth-methods', '@lockstep/storage-classes'],
  ['packages/core', '@lockstep/engines'],
  ['packages/core', '@lockstep/storage-level'],
  ['packages/core', '@lockstep/seal-transit'],
  ['packages/dev-env', '@lockstep/core'],
  ['packages/simulation', '@lockstep/core'],
]

let failed = 0
for (const [directory, target] of forbidden) {
  const file = `${directory}/src/forbidden-import-probe.ts`
  writeFileSync(file, `import * as probe from '${target}'\n\nexport const found = probe\n`)
  try {
    const { stdout } = spawnSync('npx', ['biome', 'lint', '--reporter=json', file], { encoding: 'utf8' })
    const caught = stdout.includes('noRestrictedImports')
    console.log(`${caught ? 'ok' : 'not ok'} ${directory} may not import ${target}`)
    if (!caught) failed++
  } finally {
    rmSync(file)
  }
}
process.exit(failed > 0 ? 1 : 0)
