/**
 * Moves a storage of many keys from level to PostgreSQL to etcd to level with `lockstep operator migrate`, and prints how long each took
 * and the Merkle root, which is the same all the way. `node bench/migrate.mjs [keys]`, default 1,000,000; run `npx tsc -b` before.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startStorageServer } from '@lockstep/dev-env'
import { loggedStore } from '@lockstep/replication-driver'
import { prefixedStore, storeEngine } from '@lockstep/storage'
import { levelStore } from '@lockstep/storage-level'

const LOCKSTEP = join(import.meta.dirname, '../apps/server/bin/lockstep.js')
const KEYS = Number(process.argv[2] ?? 1_000_000)
/** What a kv entry of about 100 bytes takes under the barrier. */
const VALUE_BYTES = 160
const COMMIT_KEYS = 2000
const mount = '3f2c4f6e-8a55-4a53-9c7d-0a1b2c3d4e5f'

const directory = await mkdtemp(join(tmpdir(), 'lockstep-migrate-'))
const servers = []
try {
  const first = { level: { path: join(directory, 'first') } }
  await timed(`fill level with ${KEYS.toLocaleString('en')} keys`, () => fill(first.level.path))
  for (const kind of ['postgresql', 'etcd']) servers.push(await startStorageServer(kind))
  const [postgresql, etcd] = servers.map((server) => server.block({ cluster: 'migrated', node: 'one' }))
  await migrate('level to PostgreSQL', first, postgresql)
  await migrate('PostgreSQL to etcd', postgresql, etcd)
  await migrate('etcd to level', etcd, { level: { path: join(directory, 'last') } })
} finally {
  await Promise.all(servers.map((server) => server.stop()))
  await rm(directory, { recursive: true, force: true })
}

/** Rows as a server stores them, of random bytes for ciphertext. */
async function fill(path) {
  const level = await levelStore({ path })
  const classify = () => ({ class: 'replicated', mount, mountPath: 'kv/' })
  const store = await loggedStore(storeEngine(prefixedStore(level, 'g0/')), { classify, keepLog: () => false })
  for (let n = 0; n < KEYS; n += COMMIT_KEYS) {
    const transaction = await store.begin()
    for (let at = n; at < Math.min(n + COMMIT_KEYS, KEYS); at++) {
      await transaction.put(`logical/${mount}/key-${String(at).padStart(9, '0')}`, randomBytes(VALUE_BYTES))
    }
    await transaction.commit()
  }
  await store.close()
  await level.close()
}

async function migrate(what, source, destination) {
  const file = join(directory, 'migrate.json')
  await writeFile(file, JSON.stringify({ storage_source: source, storage_destination: destination }))
  const output = await timed(what, () => run(['operator', 'migrate', `-config=${file}`, '-log-level=warn']))
  console.log(output.replace(/^/gm, '    '))
}

async function timed(what, body) {
  const began = performance.now()
  const result = await body()
  console.log(`${what}: ${((performance.now() - began) / 1000).toFixed(1)} s`)
  return result
}

function run(argv) {
  return new Promise((resolve, reject) => {
    let output = ''
    const child = spawn(process.execPath, [LOCKSTEP, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] })
    child.stdout.on('data', (text) => {
      output += text
    })
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve(output.trimEnd()) : reject(new Error(`ended with ${code}`))))
  })
}
