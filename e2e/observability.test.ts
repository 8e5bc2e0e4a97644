// What operators see over HTTP, on real processes: metrics, inspection, diagnostics, in every role.
import { type Cluster, linkSecondary, replicationStatus, waitFor, waitUntilInSync } from '@lockstep/dev-env'
import { beforeAll, expect, test } from 'vitest'
import { addOperator, login, scratch } from './scratch.ts'

const files = scratch()
const PERFORMANCE = 'sys/replication/performance/primary'
let primary: Cluster
let secondary: Cluster
let dr: Cluster

async function text(cluster: Cluster, token: string): Promise<{ status: number; body: string }> {
  const reply = await fetch(`${cluster.client.address}/v1/sys/metrics?format=prometheus`, {
    headers: token === '' ? {} : { 'X-Vault-Token': token },
  })
  return { status: reply.status, body: await reply.text() }
}

const gauge = (body: string, series: string): number => {
  const line = body.split('\n').find((found) => found.startsWith(`${series} `))
  return line === undefined ? Number.NaN : Number(line.slice(series.length + 1))
}

beforeAll(async () => {
  primary = await files.cluster('primary')
  secondary = await files.cluster('eu')
  dr = await files.cluster('dr')
  await addOperator(primary)
  for (const mount of ['open', 'gdpr']) {
    await primary.client.write(`sys/mounts/${mount}`, { type: 'kv' })
    for (let n = 0; n < 3; n++) await primary.client.write(`${mount}/k${n}`, { n })
  }
  for (const kind of ['performance', 'dr'] as const) {
    await primary.client.write(`sys/replication/${kind}/primary/enable`)
    await waitFor(`the ${kind} role`, async () => (await replicationStatus(primary, kind))?.mode === 'primary')
  }
  await linkSecondary(primary, secondary, 'performance', 'eu')
  await linkSecondary(primary, dr, 'dr', 'dr')
  await waitUntilInSync(primary, secondary, 'performance')
  await waitUntilInSync(primary, dr, 'dr')
  await login(secondary)
})

test('metrics on a primary, a performance secondary and a DR secondary', async () => {
  const here = await text(primary, primary.client.token)
  expect(here.status).toBe(200)
  expect(gauge(here.body, 'vault_core_replication_performance_primary')).toBe(1)
  expect(gauge(here.body, 'vault_core_replication_dr_primary')).toBe(1)
  expect(gauge(here.body, 'vault_replication_secondary_connected{kind="performance",secondary="eu"}')).toBe(1)
  expect(gauge(here.body, 'vault_wal_persistWALs_count')).toBeGreaterThan(0)
  expect((await text(primary, '')).status).toBe(403)

  const there = await text(secondary, secondary.client.token)
  expect(gauge(there.body, 'vault_core_replication_performance_secondary')).toBe(1)
  expect(gauge(there.body, 'vault_replication_connected{kind="performance"}')).toBe(1)
  expect(gauge(there.body, 'vault_replication_lag_seconds{kind="performance"}')).toBeGreaterThanOrEqual(0)

  // The root token of its primary opens a DR secondary's.
  const copy = await text(dr, primary.client.token)
  expect(copy.status).toBe(200)
  expect(gauge(copy.body, 'vault_core_replication_dr_secondary')).toBe(1)
  expect((await text(dr, 'hvs.unknown')).status).toBe(403)

  const { body } = await primary.client.read('sys/metrics')
  expect(body.Gauges).toContainEqual({ Name: 'vault.core.unsealed', Value: 1, Labels: {} })
})

test('inspection needs sudo, proves equality, and after a filter the absence', async () => {
  await primary.client.write('sys/policies/acl/reader', {
    policy: 'path "sys/replication/*" { capabilities = ["read"] }',
  })
  const made = await primary.client.write('auth/token/create', { policies: ['reader'] })
  const token = made.body.auth.client_token
  const path = `${PERFORMANCE}/inspect/eu`
  expect((await primary.client.call('GET', path, undefined, { token })).status).toBe(403)

  const proven = () =>
    waitFor('proof', async () => {
      const { data } = (await primary.client.read(path)).body
      return data.proven && data.view_in_force ? data : undefined
    })
  const before = await proven()
  const gdpr = before.mounts.find((row: { path: string }) => row.path === 'gdpr/')
  expect(gdpr).toMatchObject({ withheld: false, equal: true, held: { keys: 4 } })

  const filter = { mode: 'deny', paths: 'gdpr/' }
  const dry = (await primary.client.write(`${PERFORMANCE}/paths-filter/eu`, { ...filter, dry_run: true })).body.data
  expect(dry).toMatchObject({ purge_keys: 4, purge: [{ path: 'gdpr/', keys: 4 }] })
  await primary.client.write(`${PERFORMANCE}/paths-filter/eu`, filter)
  const after = await proven()
  expect(after.mounts.find((row: { path: string }) => row.path === 'gdpr/')).toMatchObject({
    withheld: true,
    held: { keys: 0, digest: '00'.repeat(32) },
  })
  const own = (await secondary.client.read('sys/replication/performance/secondary/inspect')).body.data
  expect(JSON.stringify(own)).not.toContain(gdpr.uuid)
  expect((await primary.client.read('sys/replication/dr/primary/inspect/dr')).body.data.proven).toBe(true)
})

test('diagnostics: well, and once the primary is gone, why', async () => {
  await waitFor('a clean bill', async () => {
    const { data } = (await secondary.client.read('sys/replication/diagnostics')).body
    return data.exit_status === 0
  })
  const drToken = { dr_operation_token: primary.client.token }
  const { data } = (await dr.client.write('sys/replication/dr/secondary/diagnostics', drToken)).body
  expect(data.checks.map(({ check }: { check: string }) => check)).toContain('storage')
  await primary.stop()
  const found = await waitFor('the cause', async () => {
    const answer = (await secondary.client.read('sys/replication/diagnostics')).body.data
    const check = answer.checks.find(({ cause }: { cause: string }) => cause === 'refused')
    return check && { ...check, exit: answer.exit_status }
  })
  expect(found).toMatchObject({ check: 'address', status: 'critical', exit: 2 })
})
