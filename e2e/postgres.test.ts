// The server over a real PostgreSQL, alone and at either end of a replication link whose other end keeps LevelDB.
import {
  type Cluster,
  demotePrimary,
  enablePrimary,
  linkSecondary,
  promoteSecondary,
  replicationStatus,
  updatePrimary,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type PostgresServer,
  postgresBinaries,
  startPostgres,
} from '../packages/storage-postgres/test/postgres-server.ts'
import { addOperator, login, scratch } from './scratch.ts'

describe.skipIf(postgresBinaries() === undefined)('PostgreSQL', () => {
  const files = scratch()
  let postgres: PostgresServer
  let tables = 0

  beforeAll(async () => {
    postgres = await startPostgres({ durable: true })
  })
  // Registered before the clusters' own, and so run after it.
  afterAll(() => postgres?.stop())

  const overPostgres = (name: string): Promise<Cluster> =>
    files.cluster(name, {
      config: { storage: { postgresql: { connection_url: postgres.url, table: `cluster_${tables++}` } } },
    })

  test('init, writes, kill -9, restart: everything acknowledged is there', async () => {
    const cluster = await overPostgres('alone')
    expect((await cluster.client.read('sys/seal-status')).body.storage_type).toBe('postgresql')
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    await cluster.client.write('sys/mounts/versioned', { type: 'kv-v2' })
    await addOperator(cluster)
    const acknowledged: number[] = []
    const writing = Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        const reply = await cluster.client.call('PUT', `kv/many/${n}`, { n }).catch(() => undefined)
        if (reply?.status === 204) acknowledged.push(n)
      }),
    )
    await waitFor('some writes', () => acknowledged.length >= 50, { intervalMs: 1 })
    await cluster.stop('SIGKILL')
    await writing
    await cluster.start()
    for (const n of acknowledged) {
      expect((await cluster.client.read(`kv/many/${n}`)).body.data, String(n)).toEqual({ n })
    }
    await cluster.client.write('versioned/data/a', { data: { large: 'x'.repeat(500_000) } })
    await cluster.stop('SIGKILL')
    await cluster.start()
    expect((await cluster.client.read('versioned/data/a')).body.data.data.large).toHaveLength(500_000)
    await login(cluster)
    await cluster.client.delete('kv/many/0')
    expect((await cluster.client.call('GET', 'kv/many/0')).status).toBe(404)
  })

  test.each([
    ['PostgreSQL', 'level'],
    ['level', 'PostgreSQL'],
  ])('performance replication from %s to %s, with a kill -9 of each end', async (upstream, downstream) => {
    const at = (storage: string, name: string) => (storage === 'level' ? files.cluster(name) : overPostgres(name))
    const primary = await at(upstream, `primary-${upstream}`)
    const secondary = await at(downstream, `secondary-${downstream}`)
    await addOperator(primary)
    await primary.client.write('sys/mounts/kv', { type: 'kv' })
    for (let n = 0; n < 100; n++) await primary.client.write(`kv/before/${n}`, { n })
    await primary.client.write('sys/replication/performance/primary/enable')
    await waitFor('the primary role', async () => (await replicationStatus(primary, 'performance'))?.mode === 'primary')
    await linkSecondary(primary, secondary, 'performance', 'second')
    await waitUntilInSync(primary, secondary, 'performance')
    await login(secondary)
    expect((await secondary.client.list('kv/before')).body.data.keys).toHaveLength(100)

    await secondary.client.write('kv/forwarded', { by: 'secondary' })
    expect((await primary.client.read('kv/forwarded')).body.data).toEqual({ by: 'secondary' })
    await secondary.client.write('sys/mounts/here', { type: 'kv', local: true })
    await secondary.client.write('here/a', { stays: 'here' })

    await secondary.stop('SIGKILL')
    await primary.client.write('kv/while-down', { n: 1 })
    await primary.stop('SIGKILL')
    await primary.start()
    await secondary.start()
    await waitUntilInSync(primary, secondary, 'performance')
    await login(secondary)
    expect((await secondary.client.read('kv/while-down')).body.data).toEqual({ n: 1 })
    expect((await secondary.client.read('here/a')).body.data).toEqual({ stays: 'here' })
    expect((await secondary.client.read('kv/before/99')).body.data).toEqual({ n: 99 })
  })

  test.each([
    ['PostgreSQL', 'level'],
    ['level', 'PostgreSQL'],
  ])('disaster recovery from %s to %s: failover with kill -9, and failback', async (upstream, downstream) => {
    const at = (storage: string, name: string) => (storage === 'level' ? files.cluster(name) : overPostgres(name))
    const [primary, dr] = await Promise.all([at(upstream, `from-${upstream}`), at(downstream, `to-${downstream}`)])
    await addOperator(primary)
    await primary.client.write('sys/mounts/kv', { type: 'kv' })
    await primary.client.write('sys/mounts/here', { type: 'kv', local: true })
    for (let n = 0; n < 50; n++) await primary.client.write(`kv/before/${n}`, { n })
    await primary.client.write('here/a', { local: 'goes to DR' })
    const token = (await primary.client.write('auth/token/create', { policies: ['operator'] })).body.auth.client_token
    await enablePrimary(primary, 'dr')
    await linkSecondary(primary, dr, 'dr', 'second')
    await primary.client.write('kv/streamed', { n: 1 })
    await waitUntilInSync(primary, dr, 'dr')

    await primary.stop('SIGKILL')
    await promoteSecondary(dr, 'dr', { force: true })
    dr.client.token = token
    expect((await dr.client.list('kv/before')).body.data.keys).toHaveLength(50)
    expect((await dr.client.read('kv/streamed')).body.data).toEqual({ n: 1 })
    expect((await dr.client.read('here/a')).body.data).toEqual({ local: 'goes to DR' })
    await dr.client.write('kv/after', { n: 2 })

    await primary.start()
    await demotePrimary(primary, 'dr')
    await updatePrimary(dr, primary, 'dr', 'first')
    await waitUntilInSync(dr, primary, 'dr')
    await demotePrimary(dr, 'dr')
    await promoteSecondary(primary, 'dr')
    primary.client.token = token
    expect((await primary.client.read('kv/after')).body.data).toEqual({ n: 2 })
    expect((await primary.client.read('here/a')).body.data).toEqual({ local: 'goes to DR' })
  })
})
