/** Any configuration is read or refused with a `ConfigError` that says where; it never crashes and never shows a value. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ConfigError } from '../src/config/config-error.ts'
import { loadConfig } from '../src/config/load-config.ts'

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lockstep-config-fuzz-'))
})
afterAll(() => rm(directory, { recursive: true }))

const runs = { numRuns: process.env.SLOW ? 20_000 : 200 }
/** A file may quote a secret (a seal's key, a database's password): no message may repeat it. */
const SECRET = 'correct-horse-battery-staple'

async function accepts(name: string, text: string): Promise<boolean> {
  const path = join(directory, name)
  await writeFile(path, text)
  try {
    const { config, warnings } = await loadConfig([path], {})
    expect(config.listeners.length).toBeGreaterThan(0)
    expect(warnings.join()).not.toContain(SECRET)
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    expect((error as Error).message).not.toContain(SECRET)
    return false
  }
}

const scalar = fc.oneof(
  fc.constantFrom<unknown>(SECRET, '', '127.0.0.1:0', '10s', '-1', '0', '512mib', '1e400', 'true', '__proto__', null),
  fc.boolean(),
  fc.double(),
  fc.integer(),
  fc.string({ maxLength: 20 }),
)
const value = fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }), fc.dictionary(fc.string({ maxLength: 8 }), scalar))
const block = (...keys: string[]) => {
  const body = fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 5 })
  return fc.oneof({ weight: 5, arbitrary: body }, { weight: 1, arbitrary: value })
}
const labelled = (labels: readonly string[], body: fc.Arbitrary<unknown>) =>
  fc.oneof(
    { weight: 5, arbitrary: fc.dictionary(fc.constantFrom(...labels), body, { minKeys: 1, maxKeys: 2 }) },
    { weight: 1, arbitrary: value },
  )
const listener = block('address', 'cluster_address', 'tls_disable', 'tls_cert_file', 'max_request_size', 'telemetry')
const storage = block('path', 'connection_url', 'table', 'max_parallel', 'ha_enabled')
const replication = block(
  'resolver_discover_servers',
  'logshipper_buffer_length',
  'logshipper_buffer_size',
  'best_effort_wal_wait_duration',
  'allow_forwarding_via_header',
  'allow_forwarding_via_token',
)
const members = fc.record(
  {
    storage: labelled(['inmem', 'level', 'postgresql', 'etcd', 'consul'], storage),
    listener: labelled(['tcp', 'unix'], listener),
    seal: labelled(
      ['static', 'transit', 'pkcs11', 'awskms'],
      block('current_key', 'current_key_id', 'disabled', 'address', 'token', 'key_name', 'slot', 'pin', 'key_id'),
    ),
    replication,
    telemetry: block('unauthenticated_metrics_access', 'prometheus_retention_time'),
    api_addr: value,
    cluster_addr: value,
    log_level: value,
    log_format: value,
    default_lease_ttl: value,
    max_lease_ttl: value,
    enable_unauthenticated_access: value,
  },
  { requiredKeys: [] },
)

test('JSON of any shape', async () => {
  let accepted = 0
  await fc.assert(
    fc.asyncProperty(members, async (config) => {
      if (await accepts('config.json', JSON.stringify(config))) accepted++
    }),
    {
      ...runs,
      // One that is accepted, so that refusing everything would show.
      examples: [[{ storage: { inmem: {} }, listener: { tcp: { tls_disable: true } } }]],
    },
  )
  expect(accepted).toBeGreaterThan(0)
})

test('HCL cut off, or with a piece of another place in it', async () => {
  const whole = `
    storage "level" { path = "${SECRET}" }
    listener "tcp" { address = "127.0.0.1:8200" tls_disable = 1 }
    seal "static" { current_key_id = "k" current_key = "${SECRET}" }
    replication { logshipper_buffer_size = "10mb" }
    api_addr = "https://127.0.0.1:8200"
  `
  const place = fc.nat(whole.length)
  await fc.assert(
    fc.asyncProperty(place, place, place, async (end, from, to) => {
      await accepts('config.hcl', whole.slice(0, end) + whole.slice(Math.min(from, to), Math.max(from, to)))
    }),
    { ...runs, numRuns: runs.numRuns / 5 },
  )
})
