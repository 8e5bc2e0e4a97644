// Two nodes over one PostgreSQL: what a standby does with requests, with real processes and the real `bao` program.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Cluster, type VaultReply, waitFor } from '@lockstep/dev-env'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../packages/storage-postgres/test/postgres-server.ts'
import { scratch } from './scratch.ts'

describe('a standby over PostgreSQL', () => {
  const files = scratch()
  let postgres: PostgresServer
  let one: Cluster
  let two: Cluster
  let auditFile: string

  beforeAll(async () => {
    postgres = await startPostgres({ durable: true })
    const storage = { postgresql: { connection_url: postgres.url, table: 'standby', ha_enabled: 'true' } }
    one = await files.cluster('one', { config: { cluster_name: 'both', storage } })
    two = await files.cluster('two', { config: { cluster_name: 'both', storage }, bare: true })
    two.keys = one.keys
    two.client.token = one.client.token
    for (const key of one.keys) await two.client.write('sys/unseal', { key })
    await is(two, 429)
    await one.client.write('sys/mounts/kv', { type: 'kv' })
    await one.client.write('sys/mounts/versioned', { type: 'kv-v2' })
    auditFile = join(one.directory, 'audit.log')
    await one.client.write('sys/audit/file', { type: 'file', options: { file_path: auditFile } })
  })

  afterAll(() => postgres?.stop())

  const is = (cluster: Cluster, status: number): Promise<void> =>
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

  test('sys/ha-status shows both nodes, wherever it is asked', async () => {
    await waitFor(
      'both nodes to be noted',
      async () => (await two.client.read('sys/ha-status')).body.nodes.length === 2,
    )
    const { nodes } = (await two.client.read('sys/ha-status')).body
    const [active] = nodes.filter((node: { active_node: boolean }) => node.active_node)
    expect(active).toMatchObject({ api_address: one.address, cluster_address: one.clusterAddress, last_echo: null })
    const [standby] = nodes.filter((node: { active_node: boolean }) => !node.active_node)
    expect(standby).toMatchObject({ api_address: two.address, cluster_address: two.clusterAddress })
    expect(Date.parse(standby.last_echo)).toBeGreaterThan(0)
  })

  test('the bao program works against a standby, and steps the active node down', async () => {
    const bao = async (cluster: Cluster, ...args: string[]): Promise<{ code: number; text: string }> => {
      const env = { ...process.env, BAO_ADDR: cluster.address, BAO_TOKEN: one.client.token }
      return promisify(execFile)('/work/shared/peer/bao', args, { env }).then(
        ({ stdout, stderr }) => ({ code: 0, text: stdout + stderr }),
        (error) => ({ code: error.code, text: `${error.stdout}${error.stderr}` }),
      )
    }
    const status = await bao(two, 'status')
    expect(status.text).toMatch(/HA Mode +standby/)
    expect(status.text).toContain(one.address)
    expect(status.code).toBe(0)
    expect((await bao(two, 'kv', 'get', '-field=n', 'kv/a')).text).toContain('1')
    expect((await bao(one, 'operator', 'step-down')).text).toContain('Success')
    await is(two, 200)
    await is(one, 429)
    expect((await bao(one, 'status')).text).toMatch(/HA Mode +standby/)
    expect((await one.client.read('kv/a')).body.data).toEqual({ n: 1 })
    expect((await one.client.read('sys/leader')).body.leader_address).toBe(two.address)
  })
})
