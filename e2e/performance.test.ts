// The performance replication tutorial, step for step, over two processes.
import { type Cluster, linkSecondary, replicationStatus, waitFor, waitUntilInSync } from '@lockstep/dev-env'
import { beforeAll, describe, expect, test } from 'vitest'
import { addOperator, login, scratch } from './scratch.ts'

const files = scratch()
const ENABLED =
  'This cluster is being enabled as a primary for replication. Vault will be unavailable for a brief period and will resume service shortly.'
const FOUND =
  'Vault has successfully found secondary information; it may take a while to perform setup tasks. Vault will be unavailable until these tasks and initial sync complete.'

describe('performance replication', () => {
  let primary: Cluster
  let secondary: Cluster
  let oldRootToken: string

  beforeAll(async () => {
    primary = await files.cluster('primary', { shares: 3, threshold: 2 })
    secondary = await files.cluster('secondary')
    oldRootToken = secondary.client.token
    await addOperator(primary)
    await primary.client.write('sys/mounts/secret', { type: 'kv-v2' })
    await primary.client.write('secret/data/before', { data: { when: 'before replication' } })
    await secondary.client.write('sys/mounts/old', { type: 'kv' })
    await secondary.client.write('old/thing', { gone: 'after activation' })
  })

  test('without replication both modes are disabled', async () => {
    const { body } = await primary.client.read('sys/replication/status', { token: '' })
    expect(body.data).toEqual({ dr: { mode: 'disabled' }, performance: { mode: 'disabled' } })
    const health = await primary.client.read('sys/health')
    expect(health.body).toMatchObject({ replication_performance_mode: 'disabled', replication_dr_mode: 'disabled' })
  })

  test('step 1: enable the primary', async () => {
    const { status, body } = await primary.client.write('sys/replication/performance/primary/enable')
    expect(status).toBe(200)
    expect(body.data).toBeNull()
    expect(body.warnings).toEqual([ENABLED])
    await waitFor('the primary role', async () => (await replicationStatus(primary, 'performance'))?.mode === 'primary')
    const shown = await replicationStatus(primary, 'performance')
    expect(shown).toMatchObject({ mode: 'primary', state: 'running', known_secondaries: [], secondaries: [] })
    expect(shown.merkle_root).toMatch(/^[0-9a-f]{40}$/)
    expect(shown.cluster_id).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('steps 2 and 3: a token activates the secondary', async () => {
    const issued = await primary.client.write('sys/replication/performance/primary/secondary-token', { id: 'us-west' })
    expect(issued.body.wrap_info).toMatchObject({
      ttl: 1800,
      creation_path: 'sys/replication/performance/primary/secondary-token',
    })
    const [head, claims] = issued.body.wrap_info.token
      .split('.')
      .map((part: string, index: number) => (index < 2 ? JSON.parse(Buffer.from(part, 'base64url').toString()) : part))
    expect(head).toMatchObject({ alg: 'ES512', typ: 'JWT' })
    expect(claims).toMatchObject({ addr: primary.address, type: 'wrapping' })

    const enabled = await secondary.client.write('sys/replication/performance/secondary/enable', {
      token: issued.body.wrap_info.token,
    })
    expect(enabled.status).toBe(200)
    expect(enabled.body.warnings).toEqual([FOUND])
    secondary.keys = primary.keys
    await waitFor(
      'the secondary role',
      async () => (await replicationStatus(secondary, 'performance'))?.mode === 'secondary',
    )
    await waitUntilInSync(primary, secondary, 'performance')
    const status = await waitFor('a heartbeat of the primary', async () => {
      const shown = await replicationStatus(secondary, 'performance')
      return shown.primaries[0]?.api_address === '' ? false : shown
    })
    const there = await replicationStatus(primary, 'performance')
    expect(status).toMatchObject({
      mode: 'secondary',
      secondary_id: 'us-west',
      cluster_id: there.cluster_id,
      connection_state: 'ready',
    })
    expect(there.known_secondaries).toEqual(['us-west'])
    expect(there.secondaries[0]).toMatchObject({ node_id: 'us-west', connection_status: 'connected' })
    expect(status.primaries[0]).toMatchObject({ api_address: primary.address, connection_status: 'connected' })
    for (const field of ['clock_skew_ms', 'last_heartbeat_duration_ms', 'replication_primary_canary_age_ms']) {
      expect(there.secondaries[0][field]).toMatch(/^-?\d+$/)
    }
  })

  test("step 5: the secondary's old root token and data are gone, replicated auth works", async () => {
    const denied = await secondary.client.call('GET', 'auth/token/lookup-self', undefined, { token: oldRootToken })
    expect(denied.status).toBe(403)
    await login(secondary)
    const read = await secondary.client.read('secret/data/before')
    expect(read.body.data.data).toEqual({ when: 'before replication' })
    expect((await secondary.client.read('sys/mounts')).body.data).not.toHaveProperty('old/')
    expect((await secondary.client.read('sys/health')).body).toMatchObject({
      replication_performance_mode: 'secondary',
      cluster_name: 'secondary',
    })
  })

  test('tokens stay on the cluster that made them', async () => {
    const elsewhere = await primary.client.call('GET', 'auth/token/lookup-self', undefined, {
      token: secondary.client.token,
    })
    expect(elsewhere.status).toBe(403)
  })

  test('a write on the secondary is made on the primary and is there to read at once', async () => {
    const written = await secondary.client.write('secret/data/forwarded', { data: { from: 'secondary', big: 1 } })
    expect(written.body.data.version).toBe(1)
    expect((await secondary.client.read('secret/data/forwarded')).body.data.data.from).toBe('secondary')
    expect((await primary.client.read('secret/data/forwarded')).body.data.data.from).toBe('secondary')
  })

  test('mounts, policies and roles made through the secondary appear on both', async () => {
    await secondary.client.write('sys/mounts/shared', { type: 'kv', options: { version: '2' } })
    await secondary.client.write('sys/policies/acl/reader', { policy: 'path "shared/*" { capabilities = ["read"] }' })
    await secondary.client.write('auth/token/roles/app', { allowed_policies: 'reader' })
    expect((await primary.client.read('sys/mounts')).body.data).toHaveProperty('shared/')
    expect((await primary.client.read('sys/policies/acl/reader')).body.data.policy).toContain('shared/*')
    expect((await primary.client.read('auth/token/roles/app')).status).toBe(200)
    expect((await secondary.client.read('sys/mounts')).body.data).toHaveProperty('shared/')
  })

  test('local mounts stay where they are made', async () => {
    await secondary.client.write('sys/mounts/us_west_data', { type: 'kv-v2', local: true })
    await secondary.client.write('us_west_data/data/a', { data: { here: 'only' } })
    await primary.client.write('sys/mounts/eu_data', { type: 'kv-v2', local: true })
    await primary.client.write('eu_data/data/a', { data: { here: 'only' } })
    await waitUntilInSync(primary, secondary, 'performance')
    expect((await primary.client.read('sys/mounts')).body.data).not.toHaveProperty('us_west_data/')
    const mounts = (await secondary.client.read('sys/mounts')).body.data
    expect(mounts).not.toHaveProperty('eu_data/')
    expect(mounts['us_west_data/'].local).toBe(true)
    expect((await secondary.client.read('us_west_data/data/a')).body.data.data).toEqual({ here: 'only' })
  })

  test('transit encrypts on either side under one key', async () => {
    await primary.client.write('sys/mounts/transit', { type: 'transit' })
    await primary.client.write('transit/keys/orders')
    await waitUntilInSync(primary, secondary, 'performance')
    const plaintext = Buffer.from('4111 1111').toString('base64')
    const sealed = await secondary.client.write('transit/encrypt/orders', { plaintext })
    const opened = await primary.client.write('transit/decrypt/orders', { ciphertext: sealed.body.data.ciphertext })
    expect(opened.body.data.plaintext).toBe(plaintext)
    await primary.client.write('transit/keys/orders/rotate')
    await waitUntilInSync(primary, secondary, 'performance')
    const second = await secondary.client.write('transit/encrypt/orders', { plaintext })
    expect(second.body.data.ciphertext).toMatch(/^vault:v2:/)
  })

  test('rotating the barrier key reaches the secondary, which may not rotate itself', async () => {
    await primary.client.write('sys/rotate')
    await primary.client.write('secret/data/after-rotation', { data: { term: 2 } })
    await waitUntilInSync(primary, secondary, 'performance')
    expect((await secondary.client.read('secret/data/after-rotation')).body.data.data).toEqual({ term: 2 })
    expect((await secondary.client.read('sys/key-status')).body.data.term).toBe(2)
    const refused = await secondary.client.call('PUT', 'sys/rotate', {})
    expect(refused.status).toBeGreaterThanOrEqual(400)
  })

  test("after a restart the secondary unseals with the primary's keys and catches up by itself", async () => {
    await secondary.stop()
    await primary.client.write('secret/data/while-down', { data: { missed: true } })
    await secondary.start()
    await waitUntilInSync(primary, secondary, 'performance')
    await login(secondary)
    expect((await secondary.client.read('secret/data/while-down')).body.data.data).toEqual({ missed: true })
  })

  test('a revoked secondary is cut off at once and stays so', async () => {
    await primary.client.write('sys/replication/performance/primary/revoke-secondary', { id: 'us-west' })
    await waitFor('the secondary to lose its link', async () => {
      const status = await replicationStatus(secondary, 'performance')
      return status.connection_state !== 'ready'
    })
    expect((await replicationStatus(primary, 'performance')).known_secondaries).toEqual([])
    await primary.client.write('secret/data/after-revocation', { data: { seen: false } })
    expect((await secondary.client.call('GET', 'secret/data/after-revocation')).status).toBe(404)
  })

  test('the secondary can be promoted and takes writes of its own', async () => {
    const promoted = await secondary.client.write('sys/replication/performance/secondary/promote', { force: true })
    expect(promoted.body.warnings[0]).toContain('promoted to a replication primary')
    await waitFor('the promotion', async () => (await replicationStatus(secondary, 'performance'))?.mode === 'primary')
    await login(secondary)
    await secondary.client.write('secret/data/own', { data: { by: 'new primary' } })
    expect((await primary.client.call('GET', 'secret/data/own')).status).toBe(404)
    expect((await secondary.client.read('us_west_data/data/a')).body.data.data).toEqual({ here: 'only' })
  })
})

test('linkSecondary refuses a second activation under the same id', async () => {
  const primary = await files.cluster('primary-2')
  const [one, two] = [await files.cluster('one'), await files.cluster('two')]
  await primary.client.write('sys/replication/performance/primary/enable')
  await waitFor('the primary role', async () => (await replicationStatus(primary, 'performance'))?.mode === 'primary')
  await linkSecondary(primary, one, 'performance', 'same')
  await expect(linkSecondary(primary, two, 'performance', 'same')).rejects.toThrow(/exists already/)
})
