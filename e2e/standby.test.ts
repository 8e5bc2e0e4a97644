// Two nodes over one PostgreSQL: what a standby does with requests, with real processes and the real `bao` program.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Cluster, type VaultReply, waitFor } from '@lockstep/dev-env'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../packages/storage-postgres/test/postgres-server.ts'
import { scratch } from './scratch.ts'

const BAO = join(import.meta.dirname, '../../shared/peer/bao')

/** `home`: the program keeps tokens and a cache there, which takes seconds to make. */
async function baoIn(home: string, cluster: Cluster, ...args: string[]): Promise<{ code: number; text: string }> {
  const env = { ...process.env, BAO_ADDR: cluster.address, BAO_TOKEN: cluster.client.token, HOME: home }
  return promisify(execFile)(BAO, args, { env }).then(
    ({ stdout, stderr }) => ({ code: 0, text: stdout + stderr }),
    (error) => ({ code: error.code, text: `${error.stdout}${error.stderr}` }),
  )
}

describe('a standby over PostgreSQL', () => {
  const files = scratch()
  let postgres: PostgresServer
  let one: Cluster
  let two: Cluster
  /** With `disable_clustering`. */
  let redirecting: Cluster
  let auditFile: string

  beforeAll(async () => {
    postgres = await startPostgres({ durable: true })
    const storage = { postgresql: { connection_url: postgres.url, table: 'standby', ha_enabled: 'true' } }
    one = await files.cluster('one', { config: { cluster_name: 'all', storage } })
    const another = async (name: string, config = {}): Promise<Cluster> => {
      const node = await files.cluster(name, { config: { cluster_name: 'all', storage, ...config }, bare: true })
      node.keys = one.keys
      node.client.token = one.client.token
      for (const key of one.keys) await node.client.write('sys/unseal', { key })
      await is(node, 429)
      return node
    }
    two = await another('two')
    redirecting = await another('redirecting', { disable_clustering: true })
    await one.client.write('sys/mounts/kv', { type: 'kv' })
    await one.client.write('sys/mounts/versioned', { type: 'kv-v2' })
    auditFile = join(one.directory, 'audit.log')
    await one.client.write('sys/audit/file', { type: 'file', options: { file_path: auditFile } })
  })

  afterAll(() => postgres?.stop())

  const is = (cluster: Cluster, status: number): Promise<boolean> =>
    waitFor(`${cluster.name} to answer ${status}`, async () => {
      return (await cluster.client.call('GET', 'sys/health')).status === status
    })
  const noForward = { headers: { 'X-Vault-No-Request-Forwarding': 'true' } }

  test('answers reads, writes, lists and errors as the active node does', async () => {
    expect((await two.client.write('kv/a', { n: 1 })).status).toBe(204)
    const [there, here] = [await two.client.read('kv/a'), await one.client.read('kv/a')]
    expect(there.body.data).toEqual({ n: 1 })
    const shape = ({ headers }: VaultReply): unknown => Object.keys(headers).sort()
    expect(shape(there)).toEqual(shape(here))
    expect((await two.client.list('kv')).body.data.keys).toEqual(['a'])
    expect(await two.client.call('GET', 'kv/none')).toMatchObject({ status: 404, body: { errors: [] } })
    expect(await two.client.call('GET', 'kv/a', undefined, { token: 'none' })).toMatchObject({ status: 403 })
    expect((await two.client.call('GET', 'sys/internal/ui/mounts/kv')).body.data.path).toBe('kv/')
    const large = 'x'.repeat(500_000)
    await two.client.write('versioned/data/large', { data: { large } })
    expect((await two.client.read('versioned/data/large')).body.data.data.large).toHaveLength(large.length)
  })

  test("the active node's audit log has the client's address", async () => {
    await two.client.read('kv/a', { headers: { 'X-Vault-Request': 'true' } })
    const lines = (await readFile(auditFile, 'utf8')).trimEnd().split('\n')
    const { request } = JSON.parse(lines.at(-1)!)
    expect(request).toMatchObject({ path: 'kv/a', remote_address: '127.0.0.1' })
    expect(request.remote_port).toBeGreaterThan(0)
  })

  test('redirects when asked to, with path and query', async () => {
    const reply = await two.client.call('GET', 'kv/a%20b?list=true', undefined, noForward)
    expect(reply).toMatchObject({ status: 307, headers: { location: `${one.address}/v1/kv/a%20b?list=true` } })
  })

  test('answers itself what is about itself', async () => {
    expect((await two.client.read('sys/seal-status')).body.sealed).toBe(false)
    expect((await two.client.call('GET', 'sys/health?standbyok=true')).status).toBe(200)
    expect((await two.client.call('GET', 'sys/health?standbycode=299')).status).toBe(299)
    expect((await two.client.read('sys/leader')).body).toMatchObject({
      ...{ ha_enabled: true, is_self: false },
      ...{ leader_address: one.address, leader_cluster_address: one.clusterAddress },
    })
    expect(await two.client.call('PUT', 'sys/seal')).toMatchObject({ status: 500 })
    expect(await two.client.call('PUT', 'sys/step-down')).toMatchObject({ status: 204 })
    expect((await one.client.call('GET', 'sys/health')).status).toBe(200)
  })

  test('sys/ha-status shows all nodes, wherever it is asked', async () => {
    const nodes = () => two.client.read('sys/ha-status').then(({ body }) => body.nodes)
    await waitFor('all nodes to be noted', async () => (await nodes()).length === 3)
    const [active] = (await nodes()).filter((node: { active_node: boolean }) => node.active_node)
    expect(active).toMatchObject({ api_address: one.address, cluster_address: one.clusterAddress, last_echo: null })
    const standby = (await nodes()).find((node: { api_address: string }) => node.api_address === two.address)
    expect(standby).toMatchObject({ cluster_address: two.clusterAddress, active_node: false })
    expect(Date.parse(standby.last_echo)).toBeGreaterThan(0)
  })

  test('the replication status is the same on every node', async () => {
    const [here, there] = [
      await one.client.read('sys/replication/status'),
      await two.client.read('sys/replication/status'),
    ]
    expect(there.body.data).toEqual(here.body.data)
    // It forwards nothing, and tells what is stored.
    expect((await redirecting.client.read('sys/replication/status')).body.data).toEqual(here.body.data)
  })

  test('with disable_clustering every request is redirected', async () => {
    const reply = await redirecting.client.call('PUT', 'kv/a', { n: 2 })
    expect(reply).toMatchObject({ status: 307, headers: { location: `${one.address}/v1/kv/a` } })
    expect((await redirecting.client.read('sys/leader')).body.leader_address).toBe(one.address)
  })

  test.skipIf(!existsSync(BAO))('the bao program works against a standby, forwarded or redirected', async () => {
    const bao = (cluster: Cluster, ...args: string[]) => baoIn(one.directory, cluster, ...args)
    const status = await bao(two, 'status')
    expect(status).toMatchObject({ code: 0, text: expect.stringMatching(/HA Mode +standby/) })
    expect(status.text).toContain(one.address)
    for (const node of [two, redirecting]) {
      expect(await bao(node, 'kv', 'put', 'kv/cli', `by=${node.name}`)).toMatchObject({ code: 0 })
      expect((await bao(node, 'kv', 'get', '-field=by', 'kv/cli')).text.trim()).toBe(node.name)
    }
    expect((await bao(one, 'operator', 'step-down')).text).toContain('Success')
    const active = await newActive()
    expect((await bao(one, 'status')).text).toMatch(/HA Mode +standby/)
    expect((await bao(one, 'status')).text).toContain(active.address)
    expect((await bao(one, 'kv', 'get', '-field=by', 'kv/cli')).text.trim()).toBe('redirecting')
  })

  test('the active node is killed under writes through a standby: none is acknowledged and gone, none fails as a success', async () => {
    // Were it the next to lead, it would have every request redirected to it.
    await redirecting.stop()
    const active = await newActive()
    const [through] = [one, two].filter((node) => node !== active)
    const acknowledged: number[] = []
    const statuses = new Set<number>()
    let going = true
    let next = 0
    const writing = Array.from({ length: 8 }, async () => {
      while (going) {
        const n = next++
        const { status } = await through!.client.call('PUT', `kv/many/${n}`, { n })
        statuses.add(status)
        if (status === 204) acknowledged.push(n)
      }
    })
    await waitFor('some writes', () => acknowledged.length >= 50)
    const before = acknowledged.length
    await active.stop('SIGKILL')
    await waitFor('writes under the next leader', () => acknowledged.length >= before + 50)
    going = false
    await Promise.all(writing)
    expect([...statuses].filter((status) => ![204, 307, 503].includes(status))).toEqual([])
    for (const n of acknowledged) {
      expect((await through!.client.read(`kv/many/${n}`)).body.data, String(n)).toEqual({ n })
    }
  })

  async function newActive(): Promise<Cluster> {
    let found: Cluster | undefined
    await waitFor('an active node', async () => {
      for (const node of [one, two, redirecting]) {
        const reply = await node.client.call('GET', 'sys/health').catch(() => undefined)
        if (reply?.status === 200) found = node
      }
      return found !== undefined
    })
    return found!
  }
})
