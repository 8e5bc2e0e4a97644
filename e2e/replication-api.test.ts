// The replication API as operators use it: the real `bao` command line, bodies byte by byte, over real processes.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  type Cluster,
  drOperationToken,
  enablePrimary,
  linkSecondary,
  replicationStatus,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { beforeAll, describe, expect, test } from 'vitest'
import { addOperator, login, scratch } from './scratch.ts'

const BAO = join(import.meta.dirname, '../../shared/peer/bao')
const run = promisify(execFile)
const files = scratch()

/** What the command line writes to the two streams, on one line. Rejects with both when it ends with an error. */
async function bao(cluster: Cluster, args: string[], token = cluster.client.token): Promise<string> {
  const env = { ...process.env, BAO_ADDR: cluster.address, BAO_TOKEN: token, HOME: cluster.directory }
  const { stdout, stderr } = await run(BAO, args, { env })
  return (stdout + stderr).replace(/\s+/g, ' ').trim()
}

const envelope = {
  ...{ request_id: expect.stringMatching(/^[0-9a-f-]{36}$/), lease_id: '', renewable: false, lease_duration: 0 },
  ...{ data: null, wrap_info: null, warnings: null, auth: null },
}

describe('the replication API over real processes', () => {
  let primary: Cluster
  let secondary: Cluster
  let dr: Cluster

  beforeAll(async () => {
    primary = await files.cluster('primary', {
      config: { enable_unauthenticated_access: ['generate-operation-token'] },
    })
    secondary = await files.cluster('secondary', { config: { replication: { logshipper_buffer_length: 1000 } } })
    dr = await files.cluster('dr', { config: { replication: { scrub_interval: '1s' } } })
    await addOperator(primary)
    await primary.client.write('sys/mounts/kv', { type: 'kv' })
    for (let n = 0; n < 20; n++) await primary.client.write(`kv/${n}`, { n })
    await enablePrimary(primary, 'performance')
    await enablePrimary(primary, 'dr')
  })

  test('activation by public key: no API address, the package from hand to hand', async () => {
    const made = await secondary.client.write('sys/replication/performance/secondary/generate-public-key')
    expect(made.body).toEqual({ ...envelope, data: { secondary_public_key: expect.stringMatching(/^[\w+/]+=*$/) } })
    const key = made.body.data.secondary_public_key
    const path = 'sys/replication/performance/primary/secondary-token'
    const issued = await primary.client.write(path, { id: 'us', secondary_public_key: key })
    expect(issued.body).toEqual({ ...envelope, data: { token: expect.stringMatching(/^ey[\w-]+\.\./) } })
    const { token } = issued.body.data
    const enabled = await secondary.client.write('sys/replication/performance/secondary/enable', {
      ...{ token, primary_api_addr: 'http://127.0.0.1:1' },
    })
    expect(enabled).toMatchObject({ status: 200, body: { ...envelope, warnings: [expect.any(String)] } })
    secondary.keys = primary.keys
    await waitUntilInSync(primary, secondary, 'performance')
    await login(secondary)
    expect((await secondary.client.read('kv/7')).body.data).toEqual({ n: 7 })
  })

  test('recover, merkle-check and reindex, with and without sudo', async () => {
    const report = {
      corrupted_root: false,
      last_corruption_check_epoch: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      corrupted_tree_map: Object.fromEntries(
        Object.entries({ 1: 'replicated', 2: 'local' }).map(([tree, tree_type]) => [
          tree,
          {
            ...{ corrupted_subtree_root: false, root_hash: expect.stringMatching(/^[\w+/]{27}=$/), tree_type },
            corrupted_index_tuples_map: null,
          },
        ]),
      ),
    }
    for (const cluster of [primary, secondary]) {
      const checked = await cluster.client.write('sys/replication/merkle-check')
      expect(checked.body).toEqual({ ...envelope, data: { merkle_corruption_report: report } })
      const started = await cluster.client.write('sys/replication/reindex', { diff: true })
      expect(started).toMatchObject({ status: 200, body: { ...envelope, warnings: [expect.any(String)] } })
      await waitFor(
        'the reindex',
        async () => (await replicationStatus(cluster, 'performance')).last_reindex_epoch !== '0',
      )
    }
    expect((await secondary.client.write('sys/replication/recover')).body.warnings).toEqual([
      expect.stringContaining('performance:'),
    ])
    await waitUntilInSync(primary, secondary, 'performance')
    await primary.client.write('sys/policies/acl/plain', { policy: 'path "sys/*" { capabilities = ["update"] }' })
    const made = await primary.client.write('auth/token/create', { policies: ['plain'], no_default_policy: true })
    const plain = { token: made.body.auth.client_token as string }
    expect((await primary.client.call('PUT', 'sys/replication/reindex', {}, plain)).status).toBe(403)
    expect((await primary.client.call('PUT', 'sys/replication/merkle-check', {}, plain)).status).toBe(200)
  })

  test('the same on a DR secondary, with the operation token only; its scrub shows in the status', async () => {
    await linkSecondary(primary, dr, 'dr', 'dr-site')
    await waitUntilInSync(primary, dr, 'dr')
    const consent = { dr_operation_token: await drOperationToken(dr) }
    const anonymous = { token: '' }
    for (const path of ['reindex', 'merkle-check', 'recover']) {
      const url = `sys/replication/dr/secondary/${path}`
      expect((await dr.client.call('PUT', url, {}, anonymous)).status, path).toBe(400)
      expect((await dr.client.call('PUT', url, { dr_operation_token: 'hvr.x' }, anonymous)).status, path).toBe(403)
      const done = async () => dr.client.call('PUT', url, consent, anonymous)
      await waitFor(path, async () => (await done()).status === 200)
    }
    const license = await dr.client.call('GET', 'sys/replication/dr/secondary/license/status', undefined, anonymous)
    expect(license.body).toEqual({
      ...{ ...envelope, data: { autoload_used: false, autoloaded: null, persisted_autoload: null } },
    })
    const reload = 'sys/replication/dr/secondary/config/reload/license'
    expect((await dr.client.call('PUT', reload, consent, anonymous)).status).toBe(204)
    const scrubbed = await waitFor('a scrub', async () => (await replicationStatus(dr, 'dr')).last_scrub)
    expect(scrubbed).toMatchObject({ differences: 0, repaired: 0, keys: expect.any(Number) })
    expect((await replicationStatus(dr, 'dr')).corrupted_merkle_tree).toBe(false)
    await waitUntilInSync(primary, dr, 'dr')
  })

  test('enable_unauthenticated_access: what is not listed asks for a token', async () => {
    const path = 'sys/generate-root/attempt'
    expect(await primary.client.call('GET', path, undefined, { token: '' })).toMatchObject({
      ...{ status: 403, body: { errors: ['permission denied'] } },
    })
    expect((await primary.client.call('GET', path, undefined, { token: 'hvs.unknown' })).status).toBe(403)
    expect((await primary.client.call('GET', path)).status).toBe(200)
    // Not configured: as through Vault 1.21.
    expect((await secondary.client.call('GET', path, undefined, { token: '' })).status).toBe(200)
  })

  test('health: every field and its type', async () => {
    const { status, body } = await secondary.client.call('GET', 'sys/health', undefined, { token: '' })
    expect(status).toBe(200)
    expect(body).toEqual({
      ...{ initialized: true, sealed: false, standby: false, performance_standby: false },
      ...{ replication_performance_mode: 'secondary', replication_dr_mode: 'disabled', enterprise: true },
      ...{ server_time_utc: expect.any(Number), version: expect.any(String), last_wal: expect.any(Number) },
      ...{ cluster_name: 'secondary', cluster_id: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      ...{ echo_duration_ms: expect.any(Number), clock_skew_ms: expect.any(Number) },
      replication_primary_canary_age_ms: expect.any(Number),
      license: { state: 'none', expiry_time: '', terminated: false },
    })
    for (const field of ['server_time_utc', 'last_wal', 'echo_duration_ms', 'clock_skew_ms']) {
      expect(Number.isInteger(body[field]), field).toBe(true)
    }
    expect((await secondary.client.call('GET', 'sys/health?activecode=abc')).status).toBe(400)
    expect((await secondary.client.call('GET', 'sys/health?activecode=299')).status).toBe(299)
  })

  describe.skipIf(!existsSync(BAO))('by the command line', () => {
    test('bao write -f, and what it prints of warnings and data', async () => {
      expect(await bao(primary, ['write', '-f', 'sys/replication/reindex'])).toMatch(
        /rebuilding its Merkle index from its data in the background/,
      )
      await waitFor('its end', async () => (await replicationStatus(primary, 'dr')).reindex_in_progress === undefined)
      expect(await bao(primary, ['write', '-f', 'sys/replication/merkle-check'])).toContain('merkle_corruption_report')
      expect(await bao(primary, ['write', '-f', 'sys/replication/recover'])).toContain('a primary dials nobody')
      const status = JSON.parse(await bao(primary, ['read', '-format=json', 'sys/replication/status']))
      expect(status.data).toMatchObject({ performance: { mode: 'primary' }, dr: { mode: 'primary' } })
      const key = await bao(dr, ['write', '-f', '-field=mode', 'sys/replication/dr/status']).catch(
        (error) => error.stderr,
      )
      expect(key).toContain('unsupported operation')
    })

    test('bao write of filters and tokens', async () => {
      const filter = 'sys/replication/performance/primary/paths-filter/us'
      expect(await bao(primary, ['write', filter, 'mode=deny', 'paths=future/,auth/ldap/'])).toContain('Success!')
      expect(await bao(primary, ['read', '-field=mode', filter])).toBe('deny')
      await expect(bao(primary, ['write', filter, 'mode=deny', 'paths=sys/'])).rejects.toMatchObject({
        stderr: expect.stringContaining('paths[0]: cannot be filtered'),
      })
      expect(await bao(primary, ['delete', filter])).toContain('Success!')
      await expect(bao(primary, ['read', filter])).rejects.toMatchObject({
        stderr: expect.stringContaining('No value'),
      })
      const path = 'sys/replication/performance/primary/secondary-token'
      const printed = await bao(primary, ['write', path, 'id=another'])
      for (const field of [
        'wrapping_token:',
        'wrapping_accessor:',
        'wrapping_token_ttl:',
        'wrapping_token_creation_path:',
      ]) {
        expect(printed).toContain(field)
      }
      const { body } = await secondary.client.write('sys/replication/dr/secondary/generate-public-key')
      const sealed = await bao(primary, [
        ...['write', '-field=token', 'sys/replication/dr/primary/secondary-token', 'id=third'],
        `secondary_public_key=${body.data.secondary_public_key}`,
      ])
      expect(sealed.trim().split('.')).toHaveLength(5)
    })
  })
})
