/** What the demo shows, step by step. Every claim it prints was checked a line before. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import {
  type Cluster,
  drOperationToken,
  linkSecondary,
  replicationStatus,
  startCluster,
  waitFor,
  waitUntilInSync,
} from '../index.ts'
import type { View } from './view.ts'

export interface Story {
  primary: Cluster
  performance: Cluster
  dr: Cluster
}

const OPERATOR = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }'

export async function startClusters(
  directory: string,
  view: View,
  started: (cluster: Cluster) => void,
): Promise<Story> {
  view.step('Three clusters, three processes, three data directories')
  const start = async (name: string): Promise<Cluster> => {
    const cluster = await startCluster({ directory: join(directory, name), name, shares: 3, threshold: 2 })
    started(cluster)
    view.say(
      `${name.padEnd(14)} ${cluster.address}  pid ${cluster.process.pid}, initialized with 3 key shares, unsealed with 2`,
    )
    return cluster
  }
  return { primary: await start('primary'), performance: await start('performance'), dr: await start('dr') }
}

export async function replicate({ primary, performance, dr }: Story, view: View): Promise<string> {
  view.step('Secrets on the primary, and one mount that must never leave')
  await primary.client.write('sys/policies/acl/operator', { policy: OPERATOR })
  await primary.client.write('sys/auth/userpass', { type: 'userpass' })
  await primary.client.write('auth/userpass/users/demo', { password: 'demo', token_policies: 'operator' })
  await primary.client.write('sys/mounts/secret', { type: 'kv-v2' })
  await primary.client.write('sys/mounts/EU_GDPR_data', { type: 'kv-v2' })
  for (let n = 0; n < 50; n++) await primary.client.write(`secret/data/app-${n}`, { data: { password: `p-${n}` } })
  await primary.client.write('EU_GDPR_data/data/citizen', { data: { name: 'Ada' } })
  view.say('50 secrets in secret/, one in EU_GDPR_data/')

  view.step('Performance replication, with a paths filter that withholds EU_GDPR_data/')
  await primary.client.write('sys/replication/performance/primary/enable')
  await waitFor('the primary role', async () => (await replicationStatus(primary, 'performance'))?.mode === 'primary')
  await primary.client.write('sys/replication/performance/primary/paths-filter/us', {
    mode: 'deny',
    paths: ['EU_GDPR_data/'],
  })
  await linkSecondary(primary, performance, 'performance', 'us')
  await waitUntilInSync(primary, performance, 'performance', { sameRoot: false })
  await login(performance)
  assert.equal((await performance.client.read('secret/data/app-7')).body.data.data.password, 'p-7')
  assert.equal((await performance.client.call('GET', 'EU_GDPR_data/data/citizen')).status, 404)
  assert.equal('EU_GDPR_data/' in (await performance.client.read('sys/mounts')).body.data, false)
  view.say('secret/app-7 reads on the secondary; EU_GDPR_data/ is not there, not even as a mount')

  view.step('Disaster recovery replication')
  await primary.client.write('sys/replication/dr/primary/enable')
  await waitFor('the primary role', async () => (await replicationStatus(primary, 'dr'))?.mode === 'primary')
  await linkSecondary(primary, dr, 'dr', 'dr-site')
  await waitUntilInSync(primary, dr, 'dr')
  assert.equal((await dr.client.call('GET', 'sys/health')).status, 472)
  view.say('same Merkle root on both ends; the DR secondary answers health with 472 and serves nothing else')
  await view.snapshot()

  view.step('A write on the performance secondary is forwarded, and there to read at once')
  await performance.client.write('secret/data/forwarded', { data: { from: 'secondary' } })
  assert.equal((await performance.client.read('secret/data/forwarded')).body.data.data.from, 'secondary')
  assert.equal((await primary.client.read('secret/data/forwarded')).body.data.data.from, 'secondary')
  view.say('written through the secondary, made on the primary, read on both')

  const made = await primary.client.write('auth/token/create', { policies: ['operator'], ttl: '24h' })
  return made.body.auth.client_token
}

export async function load({ primary, performance, dr }: Story, view: View): Promise<void> {
  view.step('Three seconds of writes, watching the lag')
  const until = Date.now() + 3000
  const lags: number[] = []
  let writes = 0
  const writer = async (id: number): Promise<void> => {
    while (Date.now() < until) {
      await primary.client.write(`secret/data/load-${id}-${writes++ % 100}`, { data: { n: writes } })
    }
  }
  const sampler = async (): Promise<void> => {
    while (Date.now() < until) {
      lags.push(
        (await replicationStatus(performance, 'performance')).lag_ms,
        (await replicationStatus(dr, 'dr')).lag_ms,
      )
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  await Promise.all([...Array.from({ length: 8 }, (_, id) => writer(id)), sampler()])
  lags.sort((a, b) => a - b)
  const at = (share: number): number => Math.round(lags[Math.floor((lags.length - 1) * share)] ?? 0)
  view.say(
    `${writes} durable writes (${Math.round(writes / 3)}/s); lag p50 ${at(0.5)} ms, p99 ${at(0.99)} ms over ${lags.length} samples`,
  )
  await waitUntilInSync(primary, dr, 'dr')
  await waitUntilInSync(primary, performance, 'performance', { sameRoot: false })
  await view.snapshot()
}

export async function failOver({ primary, dr }: Story, token: string, view: View): Promise<void> {
  view.step('The primary is killed (SIGKILL), the DR secondary promoted')
  await primary.client.write('secret/data/last', { data: { before: 'the disaster' } })
  await waitUntilInSync(primary, dr, 'dr')
  await primary.stop('SIGKILL')
  view.say(`pid ${primary.process.pid} is gone`)
  const started = Date.now()
  const consent = await drOperationToken(dr)
  view.say('a DR operation token was made from 2 of the 3 unseal keys')
  await dr.client.write('sys/replication/dr/secondary/promote', { dr_operation_token: consent }, { token: '' })
  await waitFor('the promotion', async () => (await dr.client.call('GET', 'sys/health')).status === 200)
  view.say(`promoted: health is 200 after ${Date.now() - started} ms`)

  view.step('A token issued by the dead primary still works here')
  dr.client.token = token
  assert.deepEqual((await dr.client.read('secret/data/last')).body.data.data, { before: 'the disaster' })
  assert.deepEqual((await dr.client.read('EU_GDPR_data/data/citizen')).body.data.data, { name: 'Ada' })
  await dr.client.write('secret/data/after', { data: { written: 'after failover' } })
  view.say('it reads the last secret written before the disaster, and writes new ones')
  await view.snapshot()
}

async function login(cluster: Cluster): Promise<void> {
  const reply = await cluster.client.write('auth/userpass/login/demo', { password: 'demo' }, { token: '' })
  cluster.client.token = reply.body.auth.client_token
}
