// The disaster recovery tutorial, step for step: set up, fail over, fail back.
import { type Cluster, linkSecondary, replicationStatus, waitFor, waitUntilInSync } from '@lockstep/dev-env'
import { beforeAll, describe, expect, test } from 'vitest'
import { addOperator, scratch } from './scratch.ts'

const files = scratch()

/** A DR operation token made from the primary's unseal keys. */
async function operationToken(dr: Cluster): Promise<string> {
  const base = 'sys/replication/dr/secondary/generate-operation-token'
  const started = (await dr.client.write(`${base}/attempt`, {}, { token: '' })).body
  expect(started).toMatchObject({ started: true, progress: 0, complete: false })
  let last = started
  for (const key of dr.keys.slice(0, started.required)) {
    last = (await dr.client.write(`${base}/update`, { key, nonce: started.nonce }, { token: '' })).body
  }
  expect(last.complete).toBe(true)
  const encoded = Buffer.from(last.encoded_token, 'base64')
  const otp = Buffer.from(started.otp)
  return encoded.map((byte, index) => byte ^ otp[index]!).reduce((text, byte) => text + String.fromCharCode(byte), '')
}

describe('disaster recovery', () => {
  let primary: Cluster
  let dr: Cluster
  let appToken: string

  beforeAll(async () => {
    primary = await files.cluster('primary', { shares: 3, threshold: 2 })
    dr = await files.cluster('dr')
    await addOperator(primary)
    await primary.client.write('sys/mounts/secret', { type: 'kv-v2' })
    await primary.client.write('sys/mounts/here', { type: 'kv', local: true })
    await primary.client.write('here/a', { local: 'data goes to DR' })
    const made = await primary.client.write('auth/token/create', { policies: ['operator'], ttl: '1h' })
    appToken = made.body.auth.client_token
    await primary.client.write('sys/replication/dr/primary/enable')
    await waitFor('the primary role', async () => (await replicationStatus(primary, 'dr'))?.mode === 'primary')
    await linkSecondary(primary, dr, 'dr', 'dr-site')
  })

  test('both ends reach the same root; health says 472', async () => {
    const status = await waitUntilInSync(primary, dr, 'dr')
    expect(status).toMatchObject({ mode: 'secondary', state: 'stream-wals', secondary_id: 'dr-site' })
    await primary.client.write('secret/data/x', { data: { n: 1 } })
    await waitFor('last_remote_wal', async () => (await replicationStatus(dr, 'dr')).last_remote_wal > 0)
    await waitUntilInSync(primary, dr, 'dr')
    const health = await dr.client.call('GET', 'sys/health')
    expect(health.status).toBe(472)
    expect(health.body).toMatchObject({ replication_dr_mode: 'secondary', replication_performance_mode: 'disabled' })
    expect((await dr.client.call('GET', 'sys/health?drsecondarycode=299')).status).toBe(299)
  })

  test('a DR secondary serves nothing else', async () => {
    for (const path of ['secret/data/x', 'sys/mounts', 'auth/token/lookup-self', 'cubbyhole/a']) {
      const reply = await dr.client.call('GET', path, undefined, { token: appToken })
      expect(reply.status, path).toBe(400)
      expect(reply.body.errors[0], path).toContain('path disabled in replication DR secondary mode')
    }
    const login = await dr.client.call('PUT', 'auth/userpass/login/mitchell', { password: 'hashi' })
    expect(login.status).toBe(400)
    expect((await dr.client.read('sys/replication/status')).body.data.dr.mode).toBe('secondary')
    expect((await dr.client.read('sys/leader')).status).toBe(200)
  })

  test('promotion needs the operators', async () => {
    const none = await dr.client.call('PUT', 'sys/replication/dr/secondary/promote', {})
    expect(none.status).toBe(400)
    expect(none.body.errors[0]).toContain('dr_operation_token')
    const wrong = await dr.client.call('PUT', 'sys/replication/dr/secondary/promote', {
      dr_operation_token: 'hvr.wrong',
    })
    expect(wrong.status).toBe(403)
    const onPrimary = await primary.client.call('PUT', 'sys/replication/dr/secondary/promote', {
      dr_operation_token: 'x',
    })
    expect(onPrimary.status).toBe(400)
    expect(onPrimary.body.errors[0]).toContain('Not a DR secondary.')
  })

  test('failover: the primary dies, the DR secondary is promoted, an old token works', async () => {
    await primary.client.write('secret/data/last', { data: { before: 'the disaster' } })
    await waitUntilInSync(primary, dr, 'dr')
    await primary.stop('SIGKILL')
    const token = await operationToken(dr)
    const promoted = await dr.client.write(
      'sys/replication/dr/secondary/promote',
      { dr_operation_token: token },
      { token: '' },
    )
    expect(promoted.body.warnings[0]).toContain('promoted to a replication primary')
    await waitFor('the promotion', async () => (await dr.client.call('GET', 'sys/health')).status === 200)
    dr.client.token = appToken
    expect((await dr.client.read('secret/data/last')).body.data.data).toEqual({ before: 'the disaster' })
    expect((await dr.client.read('here/a')).body.data).toEqual({ local: 'data goes to DR' })
    expect((await dr.client.read('auth/token/lookup-self')).body.data.policies).toContain('operator')
    await dr.client.write('secret/data/new', { data: { after: 'failover' } })
    expect(await replicationStatus(dr, 'dr')).toMatchObject({ mode: 'primary', state: 'running' })
    const login = await dr.client.write('auth/userpass/login/mitchell', { password: 'hashi' }, { token: '' })
    expect(login.body.auth.policies).toContain('operator')
  })

  test('the spent operation token is gone', async () => {
    const again = await dr.client.call('PUT', 'sys/replication/dr/secondary/promote', { dr_operation_token: 'hvr.x' })
    expect(again.status).toBe(400)
  })

  test('failback: the old primary is demoted and follows the new one without a wipe', async () => {
    await primary.start()
    primary.client.token = appToken
    await primary.client.write('sys/replication/dr/primary/demote')
    await waitFor('the demotion', async () => (await replicationStatus(primary, 'dr'))?.mode === 'secondary')
    expect(await replicationStatus(primary, 'dr')).toMatchObject({ state: 'idle', known_primary_cluster_addrs: [] })

    const issued = await dr.client.write('sys/replication/dr/primary/secondary-token', { id: 'old-primary' })
    const consent = await operationToken(primary)
    await primary.client.write(
      'sys/replication/dr/secondary/update-primary',
      { dr_operation_token: consent, token: issued.body.wrap_info.token },
      { token: '' },
    )
    await waitUntilInSync(dr, primary, 'dr')

    await dr.client.write('sys/replication/dr/primary/demote')
    await waitFor('the demotion', async () => (await replicationStatus(dr, 'dr'))?.mode === 'secondary')
    await primary.client.write(
      'sys/replication/dr/secondary/promote',
      { dr_operation_token: await operationToken(primary) },
      { token: '' },
    )
    await waitFor('the promotion', async () => (await primary.client.call('GET', 'sys/health')).status === 200)
    expect((await primary.client.read('secret/data/new')).body.data.data).toEqual({ after: 'failover' })
  })
})
