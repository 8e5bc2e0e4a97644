// The server over a real etcd, alone: crashes of both, an etcd that goes away, and writes larger than etcd takes at once. Several nodes: ha.test.ts.
import { type Cluster, waitFor } from '@lockstep/dev-env'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type EtcdServer, startEtcd } from '../packages/storage-etcd/test/etcd-server.ts'
import { addOperator, login, scratch } from './scratch.ts'

describe('etcd', () => {
  const files = scratch()
  let etcd: EtcdServer

  beforeAll(async () => {
    etcd = await startEtcd()
  })
  // Registered before the clusters' own, and so run after it.
  afterAll(() => etcd?.stop())

  const overEtcd = (name: string): Promise<Cluster> =>
    files.cluster(name, {
      config: { storage: { etcd: { address: etcd.url, path: `/${name}/`, etcd_api: 'v3', request_timeout: '2s' } } },
    })

  test('init, writes, kill -9, restart: everything acknowledged is there', async () => {
    const cluster = await overEtcd('alone')
    expect((await cluster.client.read('sys/seal-status')).body.storage_type).toBe('etcd')
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
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
    await login(cluster)
    await cluster.client.delete('kv/many/0')
    expect((await cluster.client.call('GET', 'kv/many/0')).status).toBe(404)
  })

  test('an etcd that is killed under load and comes back: 503 meanwhile, nothing acknowledged is lost, the server goes on by itself', async () => {
    const cluster = await overEtcd('patient')
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    const acknowledged: number[] = []
    const refused = new Set<number>()
    let on = true
    const writing = Promise.all(
      Array.from({ length: 4 }, async (_, writer) => {
        for (let n = writer; on; n += 4) {
          const reply = await cluster.client.call('PUT', `kv/many/${n}`, { n })
          if (reply.status === 204) acknowledged.push(n)
          else refused.add(reply.status)
        }
      }),
    )
    await waitFor('writes', () => acknowledged.length > 50)
    await etcd.kill()
    await waitFor('a refusal', () => refused.size > 0)
    await etcd.start()
    const before = acknowledged.length
    await waitFor('writes again', () => acknowledged.length > before + 50)
    on = false
    await writing
    expect([...refused]).toEqual([503])
    await cluster.stop('SIGKILL')
    await cluster.start()
    const stored = new Set((await cluster.client.list('kv/many')).body.data.keys as string[])
    for (const n of acknowledged) expect(stored).toContain(String(n))
  })

  test('secrets larger than a request of etcd, and a list longer than a page', async () => {
    const cluster = await overEtcd('large')
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    // A primary keeps the whole secret in its log once more.
    await cluster.client.write('sys/replication/performance/primary/enable')
    await waitFor('the primary role', async () => {
      const reply = await cluster.client.call('GET', 'sys/replication/performance/status')
      return reply.body.data?.mode === 'primary'
    })
    const large = (seed: string, bytes: number) => ({ text: seed.repeat(bytes / seed.length) })
    await cluster.client.write('kv/large/1', large('one ', 900_000))
    await cluster.client.write('kv/large/2', large('two ', 6_000_000))
    await cluster.stop('SIGKILL')
    await cluster.start()
    expect((await cluster.client.read('kv/large/1')).body.data).toEqual(large('one ', 900_000))
    expect((await cluster.client.read('kv/large/2')).body.data).toEqual(large('two ', 6_000_000))
    await cluster.client.write('kv/large/2', { text: 'small' })
    expect((await cluster.client.read('kv/large/2')).body.data).toEqual({ text: 'small' })

    await Promise.all(Array.from({ length: 600 }, (_, n) => cluster.client.write(`kv/list/${n}`, { n })))
    expect((await cluster.client.list('kv/list')).body.data.keys).toHaveLength(600)
    await cluster.client.delete('sys/mounts/kv')
    expect((await cluster.client.call('GET', 'kv/list/1')).status).toBe(404)
  })
})
