// The paths filter tutorial: `EU_GDPR_data/` must never leave, not in a byte, neither on the wire nor on disk.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Cluster, replicationStatus, waitFor, waitUntilInSync } from '@lockstep/dev-env'
import { beforeAll, describe, expect, test } from 'vitest'
import { listeningSecondary } from './listening-secondary.ts'
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
  test('every message to a secondary, opened with all of its keys, holds nothing of the withheld mount', async () => {
    const primary = await files.cluster('wire-primary')
    const { client } = primary
    for (const path of ['EU_GDPR_data', 'open']) await client.write(`sys/mounts/${path}`, { type: 'kv' })
    const withheld = (await client.read('sys/mounts')).body.data['EU_GDPR_data/'].uuid
    await client.write('EU_GDPR_data/MARKERKEY', { name: 'MARKERVALUE' })
    await client.write('open/first', { name: 'SHAREDVALUE' })
    await client.write('sys/replication/performance/primary/enable')
    await waitFor('the primary role', async () => (await replicationStatus(primary, 'performance'))?.mode === 'primary')
    await client.write('sys/replication/performance/primary/paths-filter/us', {
      mode: 'deny',
      paths: ['EU_GDPR_data/'],
    })
    const issued = await client.write('sys/replication/performance/primary/secondary-token', { id: 'us' })

    // This process is the secondary: the TLS ends here, so that every frame is seen as the primary sent it.
    const listening = await listeningSecondary(issued.body.wrap_info.token, primary)
    try {
      await waitFor('the first sync', () => listening.state() === 'stream-wals')
      await client.write('EU_GDPR_data/MARKERKEY', { name: 'MARKERVALUE2' })
      await client.delete('EU_GDPR_data/MARKERKEY')
      await client.write('EU_GDPR_data/OTHERMARKER', { name: 'MARKERVALUE3' })
      await client.write('open/last', { name: 'LASTVALUE' })
      await waitFor('the shared write', () => listening.text().includes('LASTVALUE'))
      await client.delete('sys/mounts/EU_GDPR_data')
      await client.write('open/end', { name: 'ENDVALUE' })
      await waitFor('the shared write', () => listening.text().includes('ENDVALUE'))
      const text = listening.text()
      for (const shared of ['SHAREDVALUE', 'LASTVALUE', 'open/']) expect(text.includes(shared), shared).toBe(true)
      for (const secret of [withheld, 'EU_GDPR_data', 'MARKER']) expect(text.includes(secret), secret).toBe(false)
    } finally {
      await listening.close()
    }
  })
})
