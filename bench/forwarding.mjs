/**
 * What a request costs through a standby, against the active node directly; and what reading costs at least that a standby would do by
 * itself without a cache. Two nodes over one PostgreSQL. `node bench/forwarding.mjs [--seconds 4] [--rounds 4]` after a build.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startCluster, waitFor } from '@lockstep/dev-env'
import { createKeyring, encryptedStore } from '../packages/barrier/dist/index.js'
import { postgresStore } from '../packages/storage-postgres/dist/index.js'
import { histogram } from './load/histogram.mjs'
import { loadGenerator, request } from './load/load.mjs'
import { cpuSeconds } from './process-cost.mjs'
import { startPostgres } from './services/postgres.mjs'

const { values } = parseArgs({ options: { seconds: { type: 'string' }, rounds: { type: 'string' } } })
const seconds = Number(values.seconds ?? 4)
const rounds = Number(values.rounds ?? 4)
const KEYS = 1000
/** Storage reads of a KV v2 read without caches: the token, its metadata, its version. */
const READS = 3

const directory = await mkdtemp(join(tmpdir(), 'lockstep-bench-forwarding-'))
const postgres = await startPostgres()
const load = loadGenerator()
const nodes = []
try {
  const config = { log_level: 'warn', storage: { postgresql: { connection_url: postgres.url, ha_enabled: 'true' } } }
  const active = await startCluster({ directory: join(directory, 'active'), name: 'active', config })
  const standby = await startCluster({ directory: join(directory, 'standby'), name: 'standby', config, bare: true })
  nodes.push(active, standby)
  for (const key of active.keys) await standby.client.write('sys/unseal', { key })
  await waitFor('the standby', async () => (await standby.client.call('GET', 'sys/health')).status === 429)
  const token = await prepare(active.client)
  const numbers = Array.from({ length: KEYS }, (_, n) => n)
  const operations = {
    'KV v2 read': numbers.map((n) => request('GET', `kv/data/${n}`, { token })),
    'KV v2 write': numbers.map((n) => request('PUT', `kv/data/w${n}`, { token, body: { data: { n } } })),
  }
  console.log('operation    | through       | connections | req/s  | p50 ms | p99 ms | CPU s/1000: active | standby')
  for (const [name, requests] of Object.entries(operations)) {
    for (const connections of [1, 64]) {
      const results = await compare(requests, connections, active, standby)
      for (const { through, count, time, latencies, cpu } of results) {
        const per = (used) => ((used / count) * 1000).toFixed(2)
        const [p50, p99] = [0.5, 0.99].map((part) => latencies.percentile(part).toFixed(2))
        const cells = [
          name,
          through,
          connections,
          Math.round(count / time),
          p50,
          p99,
          per(cpu.active),
          per(cpu.standby),
        ]
        console.log(cells.join(' | '))
      }
    }
  }
  await storageReads(postgres.url)
} finally {
  load.stop()
  await Promise.all(nodes.map((node) => node.stop()))
  await postgres.stop()
  await rm(directory, { recursive: true, force: true })
}

async function prepare(client) {
  await client.write('sys/mounts/kv', { type: 'kv-v2' })
  await client.write('sys/policies/acl/bench', {
    policy: 'path "kv/*" { capabilities = ["create", "read", "update"] }',
  })
  // The engine sets itself up in the background.
  await waitFor('the engine', async () => (await client.call('PUT', 'kv/data/0', { data: { n: 0 } })).status === 200)
  for (let n = 0; n < KEYS; n++) await client.write(`kv/data/${n}`, { data: { n, note: 'x'.repeat(150) } })
  return (await client.write('auth/token/create', { policies: ['bench'], ttl: '1h' })).body.auth.client_token
}

async function compare(requests, connections, active, standby) {
  const results = [
    { through: 'active node', node: active },
    { through: 'standby', node: standby },
  ].map((way) => ({ ...way, count: 0, time: 0, latencies: histogram(), cpu: { active: 0, standby: 0 } }))
  for (let round = 0; round < rounds; round++) {
    for (const result of round % 2 === 0 ? results : [...results].reverse()) {
      const job = { port: Number(new URL(result.node.address).port), connections, requests }
      await load.run({ ...job, seconds: 1.5 })
      const before = [cpuSeconds(active.process.pid), cpuSeconds(standby.process.pid)]
      const run = await load.run({ ...job, seconds })
      result.cpu.active += cpuSeconds(active.process.pid) - before[0]
      result.cpu.standby += cpuSeconds(standby.process.pid) - before[1]
      result.count += run.requests
      result.time += run.seconds
      result.latencies.merge(run.latencies)
    }
  }
  return results
}

/** At least this a standby without caches would do for a read, beside HTTP, policies and audit. */
async function storageReads(connection) {
  const store = await postgresStore({ connection, table: 'reads', maxConnections: 16 })
  try {
    const keyring = createKeyring()
    const barrier = encryptedStore(store, () => keyring)
    for (let n = 0; n < KEYS; n++) await barrier.put(`k/${n}`, randomBytes(300))
    for (const connections of [1, 64]) {
      const latencies = histogram()
      const before = process.cpuUsage()
      const end = performance.now() + seconds * 1000
      let count = 0
      await Promise.all(
        Array.from({ length: connections }, async () => {
          while (performance.now() < end) {
            const begun = performance.now()
            for (let read = 0; read < READS; read++) await barrier.get(`k/${(count * 7 + read) % KEYS}`)
            latencies.record((performance.now() - begun) * 1000)
            count++
          }
        }),
      )
      const { user, system } = process.cpuUsage(before)
      const [p50, p99] = [0.5, 0.99].map((part) => latencies.percentile(part).toFixed(2))
      const cpu = (((user + system) / 1e6 / count) * 1000).toFixed(2)
      console.log(
        `${READS} storage reads | by itself | ${connections} | ${Math.round(count / seconds)} | ${p50} | ${p99} | - | ${cpu}`,
      )
    }
  } finally {
    await store.close()
  }
}
