// `npm test`: every check of the repository, one after the other, then one line `N passed, N failed`.
// `npm test -- unit e2e` runs only the named steps.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const scratch = mkdtempSync(join(tmpdir(), 'lockstep-test-'))

/** Steps count tests of their own (vitest's JSON, or lines `ok NAME` / `not ok NAME`), or as one test. */
const steps = {
  build: () => once(['npx', 'tsc', '-b']),
  types: () => once(['npx', 'tsc', '-p', 'tsconfig.test.json']),
  lint: () => once(['npx', 'biome', 'check', '--error-on-warnings', '.']),
  levels: () => tap(['node', 'scripts/check-levels.mjs']),
  unit: () => vitest(['--config', 'vitest.config.ts']),
  simulate: () => once(['node', 'packages/simulation/dist/main.js', '--seeds', '2000', '--mutations']),
  packages: () => tap(['node', 'scripts/check-packages.mjs']),
  e2e: () => vitest(['--config', 'e2e/vitest.config.ts']),
}

const chosen = process.argv.slice(2)
for (const name of chosen)
  if (!(name in steps)) throw new Error(`unknown step ${name}; there are: ${Object.keys(steps).join(', ')}`)

let passed = 0
let failed = 0
for (const [name, step] of Object.entries(steps)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue
  console.log(`\n== ${name}`)
  const started = Date.now()
  const result = step()
  passed += result.passed
  failed += result.failed
  console.log(
    `== ${name}: ${result.passed} passed, ${result.failed} failed, ${((Date.now() - started) / 1000).toFixed(0)} s`,
  )
  // Nothing after a broken build says anything about the code.
  if (name === 'build' && result.failed > 0) break
}
rmSync(scratch, { recursive: true, force: true })
console.log(`\n${passed} passed, ${failed} failed`)
process.exit(failed > 0 || passed === 0 ? 1 : 0)

function run(command, options = {}) {
  return spawnSync(command[0], command.slice(1), { stdio: 'inherit', ...options })
}

function once(command) {
  const ok = run(command).status === 0
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1 }
}

function tap(command) {
  const { status, stdout } = run(command, {
    stdio: ['inherit', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  process.stdout.write(stdout)
  const passedLines = stdout.match(/^ok /gm)?.length ?? 0
  const failedLines = stdout.match(/^not ok /gm)?.length ?? 0
  return { passed: passedLines, failed: failedLines + (status !== 0 && failedLines === 0 ? 1 : 0) }
}

function vitest(args) {
  const report = join(scratch, 'vitest.json')
  rmSync(report, { force: true })
  const { status } = run([
    'npx',
    'vitest',
    'run',
    ...args,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ])
  try {
    const { numPassedTests, numFailedTests, numPendingTests, testResults } = JSON.parse(readFileSync(report, 'utf8'))
    const broken = testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length
    // In CI a test that could not run for want of a service is a failure.
    const skipped = process.env.CI ? numPendingTests : 0
    if (skipped > 0) console.log(`${skipped} tests were skipped, which counts as failed in CI`)
    const failures = numFailedTests + broken + skipped
    return { passed: numPassedTests, failed: failures + (status !== 0 && failures === 0 ? 1 : 0) }
  } catch {
    return { passed: 0, failed: 1 }
  }
}
