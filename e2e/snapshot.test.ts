// Snapshots over HTTP and by the unmodified `bao` command line, kill -9 in the middle of a restore, and from one storage engine to another.
import { execFile } from 'node:child_process'
import { createReadStream, existsSync } from 'node:fs'
import { mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { createGzip, gunzipSync } from 'node:zlib'
import { type Cluster, type StorageServer, startStorageServer, waitFor } from '@lockstep/dev-env'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { scratch } from './scratch.ts'

const BAO = join(import.meta.dirname, '../../shared/peer/bao')
const run = promisify(execFile)
const files = scratch()
/** How many restores are cut off by kill -9. */
const KILLS = Number(process.env.LOCKSTEP_RESTORE_KILLS ?? 3)

interface Reply {
  status: number
  body: Buffer
}

/** With a file or bytes as the body, streamed. */
function raw(cluster: Cluster, method: string, path: string, body?: string | Buffer): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = {
      'x-vault-token': cluster.client.token,
      ...(Buffer.isBuffer(body) ? { 'content-length': body.length } : {}),
    }
    const outgoing = request(new URL(`/v1/${path}`, cluster.address), { method, headers }, (incoming) => {
      incoming
        .toArray()
        .then((chunks) => resolve({ status: incoming.statusCode!, body: Buffer.concat(chunks) }), reject)
    })
    outgoing.on('error', reject)
    if (typeof body === 'string') pipeline(createReadStream(body), outgoing).catch(reject)
    else outgoing.end(body)
  })
}
const errors = ({ body }: Reply): string => JSON.parse(body.toString()).errors.join('; ')

async function save(cluster: Cluster, name: string): Promise<string> {
  const { status, body } = await raw(cluster, 'GET', 'sys/storage/snapshot')
  expect(status).toBe(200)
  const file = await files.path(name)
  await mkdir(join(file, '..'), { recursive: true })
  await writeFile(file, body)
  return file
}

/** Some data, with a mark that says which state it is. */
async function fill(cluster: Cluster, mark: string, keys: number): Promise<void> {
  for (let n = 0; n < keys; n += 50) {
    await Promise.all(
      Array.from({ length: Math.min(50, keys - n) }, (_, i) =>
        cluster.client.write(`kv/many/${n + i}`, { mark, padding: 'x'.repeat(200) }),
      ),
    )
  }
  await cluster.client.write('kv/mark', { mark })
}

async function mark(cluster: Cluster): Promise<string> {
  return (await cluster.client.read('kv/mark')).body.data.mark
}

describe('snapshots', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await files.cluster('one', { shares: 3, threshold: 2, config: { max_snapshot_size: '64mb' } })
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    await fill(cluster, 'saved', 500)
  })

  test('save and restore over HTTP: everything of then and nothing since; ciphertext in the file', async () => {
    const file = await save(cluster, 'http.snap')
    expect(gunzipSync(await readFile(file)).includes('padding')).toBe(false)
    await fill(cluster, 'later', 100)
    await cluster.client.write('kv/since', { n: 1 })
    expect((await raw(cluster, 'POST', 'sys/storage/snapshot', file)).status).toBe(204)
    expect(await mark(cluster)).toBe('saved')
    expect((await cluster.client.call('GET', 'kv/since')).status).toBe(404)
    expect((await cluster.client.read('sys/leases/revocation-hold')).body.data.held).toBe(true)
    await cluster.client.write('sys/leases/revocation-hold/confirm')
    await cluster.stop('SIGKILL')
    await cluster.start()
    expect(await mark(cluster)).toBe('saved')
    expect((await cluster.client.read('kv/many/42')).body.data.mark).toBe('saved')
  })

  test('without a token, cut short, or past the limit: refused, and nothing changes', async () => {
    const file = await save(cluster, 'short.snap')
    await cluster.client.write('kv/mark', { mark: 'now' })
    const { token } = cluster.client
    cluster.client.token = 'nobody'
    expect((await raw(cluster, 'GET', 'sys/storage/snapshot')).status).toBe(403)
    expect((await raw(cluster, 'POST', 'sys/storage/snapshot-force', file)).status).toBe(403)
    cluster.client.token = token
    await truncate(file, Math.floor((await stat(file)).size * 0.8))
    const cut = await raw(cluster, 'POST', 'sys/storage/snapshot', file)
    expect([cut.status, errors(cut)]).toEqual([400, expect.stringContaining('cut short')])
    expect((await raw(cluster, 'POST', 'sys/storage/snapshot')).status).toBe(400)
    // A few hundred kilobytes that unpack to 128 MiB.
    const gzip = createGzip()
    for (let n = 0; n < 128; n++) gzip.write(Buffer.alloc(1024 * 1024))
    gzip.end()
    const bomb = await raw(cluster, 'POST', 'sys/storage/snapshot-force', Buffer.concat(await gzip.toArray()))
    expect(bomb.status).toBe(400)
    expect(await mark(cluster)).toBe('now')
  })

  test('kill -9 at any moment of a restore: all of one state or all of the other', { timeout: 600_000 }, async () => {
    await fill(cluster, 'old', 600)
    const file = await save(cluster, 'kill.snap')
    await fill(cluster, 'new', 600)
    const began = performance.now()
    expect((await raw(cluster, 'POST', 'sys/storage/snapshot', file)).status).toBe(204)
    const took = performance.now() - began
    const outcomes: string[] = []
    for (let kill = 0; kill < KILLS; kill++) {
      await fill(cluster, 'new', 600)
      const restoring = raw(cluster, 'POST', 'sys/storage/snapshot', file).catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, ((kill + 1) / (KILLS + 1)) * took))
      await cluster.stop('SIGKILL')
      const reply = await restoring
      await cluster.start()
      const found = await mark(cluster)
      outcomes.push(found)
      // What was acknowledged is in force.
      if (reply?.status === 204) expect(found).toBe('old')
      for (const n of [0, 300, 599]) expect((await cluster.client.read(`kv/many/${n}`)).body.data.mark).toBe(found)
      await cluster.client.write('kv/after', { n: kill })
    }
    expect(outcomes.every((found) => found === 'old' || found === 'new')).toBe(true)
  })
})

describe.skipIf(!existsSync(BAO))('bao operator raft snapshot', () => {
  test('save, restore, and restore -force into another cluster, which then has the keys of the first', async () => {
    const [one, two] = [await files.cluster('bao-one'), await files.cluster('bao-two')]
    for (const cluster of [one, two]) {
      await cluster.client.write('sys/mounts/kv', { type: 'kv' })
      await cluster.client.write('kv/mark', { mark: cluster.name })
    }
    const file = await files.path('bao.snap')
    const bao = async (cluster: Cluster, args: string): Promise<string> => {
      const env = {
        ...process.env,
        BAO_ADDR: cluster.address,
        BAO_TOKEN: cluster.client.token,
        HOME: cluster.directory,
      }
      const { stdout, stderr } = await run(BAO, args.split(' '), { env })
      return stdout + stderr
    }
    await bao(one, `operator raft snapshot save ${file}`)
    await one.client.write('kv/mark', { mark: 'later' })
    await bao(one, `operator raft snapshot restore ${file}`)
    expect(await mark(one)).toBe('bao-one')

    await expect(bao(two, `operator raft snapshot restore ${file}`)).rejects.toMatchObject({
      stderr: expect.stringContaining(
        'could not verify hash file, possibly the snapshot is using a different set of unseal keys',
      ),
    })
    expect(await mark(two)).toBe('bao-two')
    await bao(two, `operator raft snapshot restore -force ${file}`)
    expect((await two.client.read('sys/seal-status')).body.sealed).toBe(true)
    two.keys = one.keys
    await two.unseal()
    two.client.token = one.client.token
    expect(await mark(two)).toBe('bao-one')
  })
})

describe('from one storage engine to another', () => {
  const servers: StorageServer[] = []
  afterAll(() => Promise.all(servers.map((server) => server.stop())))

  test.each(['postgresql', 'etcd'] as const)('level to %s and back', async (kind) => {
    const server = await startStorageServer(kind)
    servers.push(server)
    // One node: without a lock, whose lease may run out on a busy machine.
    const block = server.block({ cluster: kind, node: kind }) as Record<string, Record<string, unknown>>
    const storage = { [kind]: { ...block[kind], ha_enabled: 'false' } }
    const level = await files.cluster(`level-${kind}`)
    const other = await files.cluster(kind, { config: { storage } })
    await level.client.write('sys/mounts/kv', { type: 'kv' })
    await fill(level, 'level', 300)
    const there = await save(level, `${kind}-there.snap`)
    expect((await raw(other, 'POST', 'sys/storage/snapshot-force', there)).status).toBe(204)
    await waitFor('the other to be sealed', async () => (await other.client.read('sys/seal-status')).body.sealed)
    other.keys = level.keys
    await other.unseal()
    other.client.token = level.client.token
    await waitFor('the other to be active', async () => (await other.client.call('GET', 'sys/health')).status === 200)
    expect(await mark(other)).toBe('level')
    await fill(other, kind, 300)
    const back = await save(other, `${kind}-back.snap`)
    await other.stop()
    // The same cluster by now: no force needed.
    expect((await raw(level, 'POST', 'sys/storage/snapshot', back)).status).toBe(204)
    expect(await mark(level)).toBe(kind)
  })
})
