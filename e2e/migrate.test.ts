// `lockstep operator migrate` with real processes: level to PostgreSQL to etcd and back to level, then the server runs on the result.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Cluster, type StorageServer, startStorageServer, waitFor } from '@lockstep/dev-env'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { scratch } from './scratch.ts'

const LOCKSTEP = join(import.meta.dirname, '../apps/server/bin/lockstep.js')
const run = promisify(execFile)
const files = scratch()
const KEYS = 500
/** Ten processes, each as long as it takes to start. */
const PATIENCE = { timeout: 600_000 }

type Block = Record<string, Record<string, unknown>>

async function configFile(name: string, source: Block, destination: Block): Promise<string> {
  const file = await files.path(`${name}.json`)
  await writeFile(file, JSON.stringify({ storage_source: source, storage_destination: destination }))
  return file
}

/** What it printed; rejects with `code`, `stdout` and `stderr` when it failed. */
async function migrate(file: string, ...flags: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [LOCKSTEP, 'operator', 'migrate', `-config=${file}`, ...flags])
  return stdout
}
const rootIn = (output: string): string => /Merkle root, equal on both ends: ([0-9a-f]{40}) /.exec(output)![1]!

describe('operator migrate', () => {
  let cluster: Cluster
  let level: Block
  const servers: StorageServer[] = []
  beforeAll(async () => {
    cluster = await files.cluster('migrated')
    level = { level: { path: join(cluster.directory, 'data') } }
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    await cluster.client.write('sys/replication/dr/primary/enable')
    await waitFor(
      'the primary role',
      async () => (await cluster.client.read('sys/replication/dr/status')).body.data.mode === 'primary',
    )
    for (let n = 0; n < KEYS; n += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, i) => cluster.client.write(`kv/${n + i}`, { n: n + i })))
    }
  })
  afterAll(() => Promise.all(servers.map((server) => server.stop())))

  const storage = async (kind: 'postgresql' | 'etcd'): Promise<Block> => {
    const server = await startStorageServer(kind)
    servers.push(server)
    return server.block({ cluster: `migrated-${kind}`, node: 'one' }) as Block
  }

  test('refused while a server runs on the source', async () => {
    const file = await configFile('running', level, { level: { path: await files.path('elsewhere') } })
    await expect(migrate(file)).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('storage_source "level": the data directory is in use by another process'),
    })
  })

  test(
    'level to PostgreSQL to etcd to level: one root all the way, and the server has everything',
    PATIENCE,
    async () => {
      await cluster.stop()
      const [postgresql, etcd] = [await storage('postgresql'), await storage('etcd')]
      const last: Block = { level: { path: await files.path('last') } }
      const there = await configFile('there', level, postgresql)
      const roots = [rootIn(await migrate(there))]
      roots.push(rootIn(await migrate(await configFile('on', postgresql, etcd), '-max-parallel=4')))
      roots.push(rootIn(await migrate(await configFile('back', etcd, last))))
      expect(new Set(roots).size).toBe(1)
      await expect(migrate(there)).rejects.toMatchObject({
        stderr: expect.stringContaining('storage_destination is not empty'),
      })

      // On PostgreSQL, and while a server leads there nothing is moved away.
      const moved = await files.cluster('moved', { bare: true, config: { storage: postgresql } })
      await moved.client.call('PUT', 'sys/unseal', { key: cluster.keys[0] })
      moved.client.token = cluster.client.token
      await waitFor('it to lead', async () => (await moved.client.call('GET', 'sys/health')).status === 200)
      for (const n of [0, 123, KEYS - 1]) expect((await moved.client.read(`kv/${n}`)).body.data).toEqual({ n })
      expect((await moved.client.read('sys/replication/dr/status')).body.data.mode).toBe('primary')
      await expect(
        migrate(await configFile('away', postgresql, { level: { path: await files.path('away') } })),
      ).rejects.toMatchObject({ stderr: expect.stringContaining('storage_source is in use') })
      await moved.client.write('kv/0', { n: 'written after' })
    },
  )

  test('interrupted, it goes on where it was; killed, the source is locked until -reset', PATIENCE, async () => {
    const etcd = await storage('etcd')
    const file = await configFile('interrupted', level, etcd)
    const interrupted = await begun(file)
    interrupted.kill('SIGINT')
    const { stdout, stderr } = await ended(interrupted)
    expect(stdout).toContain('Migration shutdown triggered')
    // It may have been too late to stop it.
    const start = /-start=(".*")/.exec(stderr)?.[1]
    if (start === undefined) expect(stdout).toContain('Success!')
    else expect(rootIn(await migrate(file, `-start=${JSON.parse(start)}`))).toHaveLength(40)

    const killed: Block = { level: { path: await files.path('killed') } }
    const again = await configFile('killed', level, killed)
    const dying = await begun(again)
    dying.kill('SIGKILL')
    await ended(dying)
    await expect(migrate(again)).rejects.toMatchObject({
      stderr: expect.stringContaining('storage migration in progress'),
    })
    await expect(cluster.start()).rejects.toThrow()
    expect(await migrate(again, '-reset')).toContain('Migration lock reset')
    // The destination of before is started over.
    expect(rootIn(await migrate(again))).toHaveLength(40)
    await cluster.start()
    expect((await cluster.client.read('kv/7')).body.data).toEqual({ n: 7 })
  })
})

const output = new WeakMap<ChildProcess, { stdout: string; stderr: string }>()

/** Once the lock is set and the copy has begun. */
async function begun(file: string): Promise<ChildProcess> {
  const flags = [`-config=${file}`, '-max-parallel=1', '-log-level=debug']
  const child = spawn(process.execPath, [LOCKSTEP, 'operator', 'migrate', ...flags])
  const seen = { stdout: '', stderr: '' }
  output.set(child, seen)
  child.stdout.on('data', (text) => {
    seen.stdout += text
  })
  child.stderr.on('data', (text) => {
    seen.stderr += text
  })
  await waitFor('the copy to begin', async () => seen.stdout.includes('copying'), { intervalMs: 2 })
  return child
}

async function ended(child: ChildProcess): Promise<{ stdout: string; stderr: string }> {
  if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once('close', resolve))
  return output.get(child)!
}
