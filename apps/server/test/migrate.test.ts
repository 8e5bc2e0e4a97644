// `operator migrate`: flags and configuration; what it does is in core's tests and e2e/migrate.test.ts.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseCommand } from '../src/cli/arguments.ts'
import { loadMigrateConfig } from '../src/config/migrate-config.ts'

let home: string
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'lockstep-migrate-'))
})
afterAll(() => rm(home, { recursive: true }))

test('flags', () => {
  const parsed = (...argv: string[]) => parseCommand(['operator', 'migrate', ...argv])
  expect(parsed('-config=m.hcl')).toEqual({
    name: 'migrate',
    flags: { config: 'm.hcl', start: undefined, reset: false, maxParallel: 10, logLevel: 'info' },
  })
  expect(parsed('-config', 'm', '-reset', '-max-parallel=3', '-start=g0/d/a b', '-log-level=warn')).toMatchObject({
    flags: { config: 'm', start: 'g0/d/a b', reset: true, maxParallel: 3, logLevel: 'warn' },
  })
  expect(parsed('-help').name).toBe('help')
  for (const argv of [
    [],
    ['-config=a', '-max-parallel=0'],
    ['-config=a', '-max-parallel=x'],
    ['-config=a', '-nonsense'],
    ['-config=a', '-log-level=loud'],
  ]) {
    expect(parsed(...argv), argv.join(' ')).toMatchObject({ name: 'usage', message: expect.stringMatching(/./) })
  }
  expect(parseCommand(['operator'])).toMatchObject({ name: 'usage' })
  expect(parseCommand(['operator', 'raft'])).toEqual({ name: 'usage', message: 'unknown command "operator raft"' })
})

async function load(text: string) {
  const file = join(home, 'migrate.hcl')
  await writeFile(file, text)
  return loadMigrateConfig(file)
}

test('the file is that of Vault', async () => {
  const text = `
    storage_source "level" { path = "/var/lib/lockstep" }
    storage_destination "postgresql" { connection_url = "postgres://db/lockstep"  table = "moved" }
    cluster_addr = "https://127.0.0.1:8201"
  `
  expect(await load(text)).toMatchObject({
    source: { type: 'level', path: '/var/lib/lockstep' },
    destination: { type: 'postgresql', connectionUrl: 'postgres://db/lockstep', table: 'moved' },
  })
})

test.each([
  ['storage_source "level" { path = "a" }', "exactly one 'storage_destination' block is required"],
  ['storage_source "level" { path = "a" }\nstorage_source "level" { path = "b" }', "exactly one 'storage_source'"],
  ['storage_source "inmem" {}\nstorage_destination "level" { path = "a" }', 'inmem ends with its process'],
  ['storage_source "consul" {}\nstorage_destination "level" { path = "a" }', 'unknown storage type'],
  [
    'storage_source "level" { path = "a" }\nstorage_destination "level" { path = "b" }\nlistener "tcp" {}',
    'unknown key',
  ],
])('refuses %s', async (text, reason) => {
  await expect(load(text)).rejects.toThrow(reason)
})
