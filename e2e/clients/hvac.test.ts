// hvac (PyPI), unmodified, against our server: hvac_client.py holds the calls. Without python3 or pip these tests are skipped
// with a message (and a skipped test fails in CI).
import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { scratch } from '../scratch.ts'

const HVAC = 'hvac==2.4.0'
const PARTS = [
  'init_and_unseal',
  'health_and_leader',
  'mounts',
  'kv_v1',
  'kv_v2',
  'policies',
  'userpass',
  'approle',
  'tokens',
  'wrapping',
  'transit',
  'audit',
  'leases_and_rotation',
  'generate_root',
  'replication',
  'seal',
]
const run = promisify(execFile)
const files = scratch()

function hasPython(): boolean {
  try {
    execFileSync('python3', ['-c', 'import venv, ensurepip'], { stdio: 'ignore' })
    return true
  } catch {
    console.warn('skipped: python3 with venv and pip is not installed, so there is no hvac to test with')
    return false
  }
}

describe.skipIf(!hasPython())('hvac', () => {
  let python: string

  beforeAll(async () => {
    const environment = await files.path('venv')
    await run('python3', ['-m', 'venv', environment])
    python = join(environment, 'bin', 'python')
    await run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', HVAC])
  })

  test('init to seal, by its typed methods', async () => {
    const cluster = await files.cluster('primary', { bare: true })
    const secondary = await files.cluster('secondary')
    const script = join(import.meta.dirname, 'hvac_client.py')
    const audit = join(cluster.directory, 'audit.log')
    const { stdout } = await run(python, [script, cluster.address, secondary.address, secondary.client.token, audit])
    expect(stdout.trim().split('\n')).toEqual(PARTS.map((part) => `passed ${part}`))
  })
})
