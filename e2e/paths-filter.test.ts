// The paths filter tutorial: `EU_GDPR_data/` must never leave, not in a byte, neither on the wire nor on disk.
import { readdir, readFile } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { type Cluster, replicationStatus, waitFor, waitUntilInSync } from '@lockstep/dev-env'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addOperator, login, scratch } from './scratch.ts'

const files = scratch()

async function bytesBelow(directory: string): Promise<Buffer> {
  const found: Buffer[] = []
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) found.push(await readFile(join(entry.parentPath, entry.name)))
  }
  return Buffer.concat(found)
}

describe('paths filter', () => {
  let primary: Cluster
  let secondary: Cluster
  let withheldUuid: string
  let visibleUuid: string

  beforeAll(async () => {
    primary = await files.cluster('primary')
    secondary = await files.cluster('secondary')
    await addOperator(primary)
    for (const path of ['EU_GDPR_data', 'non_EU_GDPR_data'])
      await primary.client.write(`sys/mounts/${path}`, { type: 'kv-v2' })
    await primary.client.write('EU_GDPR_data/data/MARKERKEY', { data: { name: 'MARKERVALUE' } })
    await primary.client.write('non_EU_GDPR_data/data/a', { data: { name: 'shared' } })
    const mounts = (await primary.client.read('sys/mounts')).body.data
    withheldUuid = mounts['EU_GDPR_data/'].uuid
    visibleUuid = mounts['non_EU_GDPR_data/'].uuid
    await primary.client.write('sys/replication/performance/primary/enable')
    await waitFor('the primary role', async () => (await replicationStatus(primary, 'performance'))?.mode === 'primary')
    await primary.client.write('sys/replication/performance/primary/paths-filter/us', {
      mode: 'deny',
      paths: ['EU_GDPR_data/'],
    })
    const issued = await primary.client.write('sys/replication/performance/primary/secondary-token', { id: 'us' })
    await secondary.client.write('sys/replication/performance/secondary/enable', { token: issued.body.wrap_info.token })
    secondary.keys = primary.keys
    await waitFor(
      'the secondary role',
      async () => (await replicationStatus(secondary, 'performance'))?.mode === 'secondary',
    )
    await waitUntilInSync(primary, secondary, 'performance', { sameRoot: false })
    await login(secondary)
  })

  test('the filter can be read back', async () => {
    const { body } = await primary.client.read('sys/replication/performance/primary/paths-filter/us')
    expect(body.data).toEqual({ mode: 'deny', paths: ['EU_GDPR_data/'] })
    const dynamic = await primary.client.read('sys/replication/performance/primary/dynamic-filter/us')
    expect(dynamic.body.data.dynamic_filtered_mounts).toEqual(['EU_GDPR_data/'])
    expect((await primary.client.call('GET', 'sys/replication/performance/primary/paths-filter/other')).status).toBe(
      404,
    )
  })

  test('the secondary has the one mount and not the other', async () => {
    expect((await secondary.client.read('non_EU_GDPR_data/data/a')).body.data.data).toEqual({ name: 'shared' })
    expect(Object.keys((await secondary.client.read('sys/mounts')).body.data)).not.toContain('EU_GDPR_data/')
    expect((await secondary.client.call('GET', 'EU_GDPR_data/data/MARKERKEY')).status).toBe(404)
  })

  test('nor can it reach the withheld mount by having requests forwarded', async () => {
    for (const [method, body] of [
      ['PUT', { data: { a: 1 } }],
      ['DELETE', undefined],
    ] as const) {
      expect((await secondary.client.call(method, 'EU_GDPR_data/data/MARKERKEY', body)).status).toBe(404)
    }
    expect((await primary.client.read('EU_GDPR_data/data/MARKERKEY')).body.data.data).toEqual({ name: 'MARKERVALUE' })
  })

  test("not one byte of it is on the secondary's disk", async () => {
    // Writes while streaming, after the first sync, must stay away as well.
    await primary.client.write('EU_GDPR_data/data/MARKERKEY', { data: { name: 'MARKERVALUE2' } })
    await primary.client.write('non_EU_GDPR_data/data/b', { data: { name: 'later' } })
    await waitFor(
      'the shared write',
      async () => (await secondary.client.call('GET', 'non_EU_GDPR_data/data/b')).status === 200,
    )
    await secondary.stop()
    const disk = await bytesBelow(join(secondary.directory, 'data'))
    expect(disk.includes(visibleUuid), 'the check itself finds uuids').toBe(true)
    for (const secret of [withheldUuid, 'EU_GDPR_data', 'MARKERKEY', 'MARKERVALUE']) {
      // `non_EU_GDPR_data` holds the withheld name, so count what is not part of it.
      const text = disk.toString('latin1').replaceAll('non_EU_GDPR_data', '')
      expect(text.includes(secret), secret).toBe(false)
    }
    await secondary.start()
    await login(secondary)
  })

  test('a filter switched on later purges what was there, and off again fills it', async () => {
    await primary.client.write('sys/replication/performance/primary/paths-filter/us', {
      mode: 'deny',
      paths: ['EU_GDPR_data/', 'non_EU_GDPR_data/'],
    })
    await waitFor(
      'the purge',
      async () => (await secondary.client.call('GET', 'non_EU_GDPR_data/data/a')).status === 404,
    )
    await waitUntilInSync(primary, secondary, 'performance', { sameRoot: false })
    await primary.client.delete('sys/replication/performance/primary/paths-filter/us')
    await waitFor(
      'the fill',
      async () => (await secondary.client.call('GET', 'EU_GDPR_data/data/MARKERKEY')).status === 200,
    )
    await waitUntilInSync(primary, secondary, 'performance')
  })

  test('a filter that is not one is refused, naming the field', async () => {
    for (const [input, field] of [
      [{ mode: 'maybe', paths: ['a/'] }, 'mode'],
      [{ mode: 'deny', paths: ['sys/'] }, 'sys'],
    ] as const) {
      const reply = await primary.client.call('PUT', 'sys/replication/performance/primary/paths-filter/us', input)
      expect(reply.status).toBe(400)
      expect(reply.body.errors[0]).toContain(field)
    }
  })
})

describe('on the wire', () => {
  let tap: Server
  const seen: Buffer[] = []
  afterAll(() => tap?.close())

  test('the secondary is sent nothing of the withheld mount', async () => {
    // TLS hides the bytes, so sizes are the evidence here: 4 MiB go into the withheld mount, far less crosses the wire. The plain
    // frames are checked byte by byte in replication-driver's tests.
    const primary = await files.cluster('wire-primary')
    const secondary = await files.cluster('wire-secondary')
    await addOperator(primary)
    const target = new URL(primary.clusterAddress)
    tap = createServer((socket) => {
      const upstream = connect(Number(target.port), '127.0.0.1')
      upstream.on('data', (chunk) => seen.push(chunk))
      socket.pipe(upstream).pipe(socket)
      for (const end of [socket, upstream]) end.on('error', () => end.destroy())
    })
    await new Promise<void>((resolve) => tap.listen(0, '127.0.0.1', resolve))
    const { port } = tap.address() as { port: number }
    await primary.client.write('sys/mounts/EU_GDPR_data', { type: 'kv' })
    await primary.client.write('sys/mounts/open', { type: 'kv' })
    await primary.client.write('sys/replication/performance/primary/enable', {
      primary_cluster_addr: `https://127.0.0.1:${port}`,
    })
    await waitFor('the primary role', async () => (await replicationStatus(primary, 'performance'))?.mode === 'primary')
    await primary.client.write('sys/replication/performance/primary/paths-filter/us', {
      mode: 'deny',
      paths: ['EU_GDPR_data/'],
    })
    const issued = await primary.client.write('sys/replication/performance/primary/secondary-token', { id: 'us' })
    await secondary.client.write('sys/replication/performance/secondary/enable', { token: issued.body.wrap_info.token })
    secondary.keys = primary.keys
    await waitFor(
      'the secondary role',
      async () => (await replicationStatus(secondary, 'performance'))?.mode === 'secondary',
    )
    await waitUntilInSync(primary, secondary, 'performance', { sameRoot: false })
    const bytes = (): number => seen.reduce((sum, chunk) => sum + chunk.length, 0)
    const before = bytes()
    for (let n = 0; n < 16; n++) await primary.client.write(`EU_GDPR_data/${n}`, { value: 'x'.repeat(256 * 1024) })
    await primary.client.write('open/last', { value: 'y'.repeat(64 * 1024) })
    await login(secondary)
    await waitFor('the shared write', async () => (await secondary.client.call('GET', 'open/last')).status === 200)
    const crossed = bytes() - before
    expect(crossed).toBeGreaterThan(64 * 1024)
    expect(crossed).toBeLessThan(256 * 1024)
    expect(Buffer.concat(seen).includes('EU_GDPR_data')).toBe(false)
  })
})
