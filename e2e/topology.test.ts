// Six clusters, every shape that the two roles allow:
//
//              primary ── dr ─────────► primary-dr
//               │    │
//   performance │    │ performance, without filtered/
//               ▼    ▼
//             plain  filtered ── dr ──► filtered-dr
//
// Who holds what, on disk and after a promotion.
import {
  type Cluster,
  enablePrimary,
  linkSecondary,
  promoteSecondary,
  replicationStatus,
  repoint,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { beforeAll, describe, expect, test } from 'vitest'
import { onDisk } from './on-disk.ts'
import { addOperator, login, scratch } from './scratch.ts'

const files = scratch()

/** Names that are stored as they are: a mount's path and uuid, and the keys of a version 1 kv mount. */
const WITHHELD_KEYS = ['WITHHELDEARLY', 'WITHHELDWHILESTREAMING', 'WITHHELDLATE']

async function uuidOf(cluster: Cluster, mount: string): Promise<string> {
  return (await cluster.client.read('sys/mounts')).body.data[mount].uuid
}

async function leasesOf(cluster: Cluster): Promise<string[]> {
  const reply = await cluster.client.call('LIST', 'sys/leases/lookup/auth/userpass/login/mitchell')
  return reply.status === 404 ? [] : reply.body.data.keys
}

describe('a filtered performance secondary that is a DR primary itself', () => {
  let primary: Cluster
  let primaryDr: Cluster
  let plain: Cluster
  let filtered: Cluster
  let filteredDr: Cluster
  const uuids: Record<'shared' | 'withheld' | 'primaryLocal' | 'filteredLocal', string> = {
    shared: '',
    withheld: '',
    primaryLocal: '',
    filteredLocal: '',
  }
  /** Issued by `filtered`. */
  let edgeToken: string
  let edgeSecretId: string
  let primaryToken: string

  const settled = async (): Promise<void> => {
    await Promise.all([
      waitUntilInSync(primary, plain, 'performance'),
      waitUntilInSync(primary, primaryDr, 'dr'),
      waitUntilInSync(primary, filtered, 'performance', { sameRoot: false }),
    ])
    await caughtUp(primary, filtered, 'performance')
    await waitUntilInSync(filtered, filteredDr, 'dr')
  }

  /** For a filtered view, whose root is not the primary's. */
  async function caughtUp(from: Cluster, to: Cluster, kind: 'performance' | 'dr'): Promise<void> {
    const head = (await replicationStatus(from, kind)).last_wal
    await waitFor(`${to.name} to apply ${head}`, async () => {
      const status = await replicationStatus(to, kind)
      return status.last_remote_wal >= head && status.state === 'stream-wals'
    })
  }

  beforeAll(async () => {
    ;[primary, primaryDr, plain, filtered, filteredDr] = await Promise.all([
      files.cluster('primary', { shares: 3, threshold: 2 }),
      files.cluster('primary-dr'),
      files.cluster('plain'),
      files.cluster('filtered'),
      files.cluster('filtered-dr'),
    ])
    await addOperator(primary)
    const { client } = primary
    await client.write('sys/mounts/shared', { type: 'kv' })
    await client.write('sys/mounts/withheld_mount', { type: 'kv' })
    await client.write('sys/mounts/primary_local', { type: 'kv', local: true })
    await client.write('shared/SHAREDKEY', { on: 'all' })
    await client.write('withheld_mount/WITHHELDEARLY', { on: 'primary, plain and primary-dr' })
    await client.write('primary_local/PRIMARYLOCALKEY', { on: 'primary and primary-dr' })
    await client.write('sys/auth/approle', { type: 'approle' })
    await client.write('auth/approle/role/edge', {
      token_policies: 'operator',
      local_secret_ids: true,
      role_id: 'edge',
    })
    await Promise.all([uuidOf(primary, 'shared/'), uuidOf(primary, 'withheld_mount/')]).then(([shared, withheld]) => {
      uuids.shared = shared!
      uuids.withheld = withheld!
    })
    uuids.primaryLocal = await uuidOf(primary, 'primary_local/')

    await enablePrimary(primary, 'performance')
    await enablePrimary(primary, 'dr')
    await client.write('sys/replication/performance/primary/paths-filter/filtered', {
      mode: 'deny',
      paths: ['withheld_mount/'],
    })
    await Promise.all([
      linkSecondary(primary, plain, 'performance', 'plain'),
      linkSecondary(primary, filtered, 'performance', 'filtered'),
      linkSecondary(primary, primaryDr, 'dr', 'primary-dr'),
    ])
    await caughtUpBy(() => login(plain))
    await caughtUpBy(() => login(filtered))
    await enablePrimary(filtered, 'dr')
    await linkSecondary(filtered, filteredDr, 'dr', 'filtered-dr')
    await settled()
  })

  /** The first login waits for the first sync. */
  const caughtUpBy = (attempt: () => Promise<unknown>) =>
    waitFor('the first sync', () =>
      attempt().then(
        () => true,
        () => false,
      ),
    )

  test('every cluster plays the roles it was given, and both primaries list their secondaries', async () => {
    const modes = async (cluster: Cluster) => {
      const { body } = await cluster.client.read('sys/replication/status', { token: '' })
      return [body.data.performance.mode, body.data.dr.mode]
    }
    expect(await modes(primary)).toEqual(['primary', 'primary'])
    expect(await modes(plain)).toEqual(['secondary', 'disabled'])
    expect(await modes(filtered)).toEqual(['secondary', 'primary'])
    expect(await modes(primaryDr)).toEqual(['disabled', 'secondary'])
    expect(await modes(filteredDr)).toEqual(['disabled', 'secondary'])
    const { known_secondaries, secondaries } = await replicationStatus(primary, 'performance')
    expect([...known_secondaries].sort()).toEqual(['filtered', 'plain'])
    for (const one of secondaries) expect(one.connection_status, one.node_id).toBe('connected')
    expect((await replicationStatus(filtered, 'dr')).known_secondaries).toEqual(['filtered-dr'])
  })

  test('local mounts, tokens, leases and local secret ids are made on either side', async () => {
    await filtered.client.write('sys/mounts/filtered_local', { type: 'kv', local: true })
    uuids.filteredLocal = await uuidOf(filtered, 'filtered_local/')
    await filtered.client.write('filtered_local/FILTEREDLOCALKEY', { on: 'filtered and filtered-dr' })
    edgeToken = await login(filtered)
    const issued = await filtered.client.write('auth/approle/role/edge/secret-id')
    edgeSecretId = issued.body.data.secret_id
    const made = await primary.client.write('auth/token/create', { policies: ['operator'], ttl: '1h' })
    primaryToken = made.body.auth.client_token
    await login(plain)

    // Each cluster has its own leases only.
    const [there, here, elsewhere] = await Promise.all([leasesOf(primary), leasesOf(filtered), leasesOf(plain)])
    expect(there).toEqual([])
    expect(here.length).toBeGreaterThan(0)
    expect(elsewhere.length).toBeGreaterThan(0)
    expect(here.filter((lease) => elsewhere.includes(lease))).toEqual([])
    for (const cluster of [primary, plain]) {
      const { status } = await cluster.client.call('GET', 'auth/token/lookup-self', undefined, { token: edgeToken })
      expect(status, cluster.name).toBe(403)
    }
    // The role is shared, its secret ids are not.
    const credentials = { role_id: 'edge', secret_id: edgeSecretId }
    const used = await filtered.client.write('auth/approle/login', credentials, { token: '' })
    expect(used.body.auth.policies).toContain('operator')
    for (const cluster of [primary, plain]) {
      expect((await cluster.client.call('PUT', 'auth/approle/login', credentials, { token: '' })).status).toBe(400)
    }
    expect((await primary.client.read('sys/mounts')).body.data).not.toHaveProperty('filtered_local/')
    for (const cluster of [plain, filtered]) {
      expect((await cluster.client.read('sys/mounts')).body.data, cluster.name).not.toHaveProperty('primary_local/')
    }
  })

  test('a local mount outlives a sync of everything', async () => {
    await primary.client.write('withheld_mount/WITHHELDWHILESTREAMING', { n: 1 })
    await primary.client.write('shared/while-streaming', { n: 1 })
    await settled()
    // Off the log: the whole set is compared, and what the primary does not have would be deleted were it not local.
    await filtered.stop()
    for (let n = 0; n < 50; n++) await primary.client.write(`shared/missed-${n}`, { n })
    await filtered.start()
    await settled()
    const before = (await replicationStatus(filtered, 'performance')).last_diff_reason
    await primary.client.write('sys/replication/performance/primary/paths-filter/filtered', {
      mode: 'deny',
      paths: ['withheld_mount/', 'not_there_yet/'],
    })
    await waitFor('a comparison', async () => {
      const status = await replicationStatus(filtered, 'performance')
      return status.last_diff_reason !== before && status.state === 'stream-wals'
    })
    await settled()
    expect((await filtered.client.read('filtered_local/FILTEREDLOCALKEY')).body.data.on).toContain('filtered-dr')
    expect((await filtered.client.read('auth/token/lookup-self', { token: edgeToken })).status).toBe(200)
    expect((await filtered.client.read('shared/missed-49')).body.data).toEqual({ n: 49 })
  })

  test('on disk, every cluster holds what its place allows and nothing else', async () => {
    await primary.client.write('withheld_mount/WITHHELDLATE', { n: 1 })
    await settled()
    const clusters = [primary, primaryDr, plain, filtered, filteredDr]
    await Promise.all(clusters.map((cluster) => cluster.stop()))
    const disks = new Map(await Promise.all(clusters.map(async (cluster) => [cluster, await onDisk(cluster)] as const)))
    const holders = (text: string) => clusters.filter((one) => disks.get(one)!.holds(text)).map(({ name }) => name)

    const all = clusters.map(({ name }) => name)
    // Positive controls: the search finds what is there.
    expect(holders(uuids.shared)).toEqual(all)
    expect(holders('SHAREDKEY')).toEqual(all)
    const withWithheld = ['primary', 'primary-dr', 'plain']
    for (const text of [uuids.withheld, ...WITHHELD_KEYS]) expect(holders(text), text).toEqual(withWithheld)
    for (const text of [uuids.primaryLocal, 'PRIMARYLOCALKEY']) {
      expect(holders(text), text).toEqual(['primary', 'primary-dr'])
    }
    for (const text of [uuids.filteredLocal, 'FILTEREDLOCALKEY']) {
      expect(holders(text), text).toEqual(['filtered', 'filtered-dr'])
    }
    // A mount's path is encrypted wherever it is stored; where it may not be, its absence must not rest on that.
    for (const name of ['filtered', 'filtered-dr']) expect(holders('withheld_mount'), name).not.toContain(name)
    // Nor is there a partition, a leaf or a log record of the withheld mount.
    for (const cluster of [filtered, filteredDr]) {
      expect(disks.get(cluster)!.keys.filter((key) => key.includes(uuids.withheld))).toEqual([])
    }
    const records = disks.get(filtered)!.keys.filter((key) => key.includes('w/'))
    expect(records.length, 'filtered keeps a log for its DR secondary').toBeGreaterThan(0)

    await Promise.all(clusters.map((cluster) => cluster.start()))
    await settled()
  })

  test('the DR secondary of the filtered one, promoted, takes its place upstream with the same credentials', async () => {
    await filtered.stop('SIGKILL')
    await promoteSecondary(filteredDr, 'dr')
    filteredDr.client.token = edgeToken
    await caughtUp(primary, filteredDr, 'performance')
    expect(await replicationStatus(filteredDr, 'performance')).toMatchObject({
      mode: 'secondary',
      secondary_id: 'filtered',
      connection_state: 'ready',
      state: 'stream-wals',
    })
    const seen = await waitFor('its first heartbeat', async () => {
      const { secondaries } = await replicationStatus(primary, 'performance')
      const found = secondaries.find((one: { node_id: string }) => one.node_id === 'filtered')
      return found.connection_status === 'connected' && found.api_address !== '' ? found : false
    })
    expect(seen.api_address).toBe(filteredDr.address)

    // Tokens, leases, local mount and local secret ids came along.
    const { client } = filteredDr
    expect((await client.read('auth/token/lookup-self')).body.data.policies).toContain('operator')
    expect((await leasesOf(filteredDr)).length).toBeGreaterThan(0)
    expect((await client.read('filtered_local/FILTEREDLOCALKEY')).body.data.on).toContain('filtered-dr')
    const credentials = { role_id: 'edge', secret_id: edgeSecretId }
    expect((await client.write('auth/approle/login', credentials, { token: '' })).body.auth.policies).toContain(
      'operator',
    )

    // It is as filtered as the one it replaces, and forwards its writes.
    expect((await client.read('sys/mounts')).body.data).not.toHaveProperty('withheld_mount/')
    expect((await client.call('GET', 'withheld_mount/WITHHELDEARLY')).status).toBe(404)
    await client.write('shared/by-the-new-one', { forwarded: true })
    expect((await primary.client.read('shared/by-the-new-one')).body.data).toEqual({ forwarded: true })
    await primary.client.write('withheld_mount/WITHHELDAFTERPROMOTION', { n: 1 })
    await caughtUp(primary, filteredDr, 'performance')
    await filteredDr.stop()
    const disk = await onDisk(filteredDr)
    expect(disk.holds('SHAREDKEY')).toBe(true)
    for (const text of [uuids.withheld, ...WITHHELD_KEYS, 'WITHHELDAFTERPROMOTION']) {
      expect(disk.holds(text), text).toBe(false)
    }
  })

  test("the primary's DR secondary, promoted, has its local mount, its tokens and its secondaries", async () => {
    await waitUntilInSync(primary, primaryDr, 'dr')
    await primary.stop('SIGKILL')
    await promoteSecondary(primaryDr, 'dr')
    primaryDr.client.token = primaryToken
    const { client } = primaryDr
    expect((await client.read('primary_local/PRIMARYLOCALKEY')).body.data.on).toContain('primary-dr')
    expect((await client.read('withheld_mount/WITHHELDLATE')).body.data).toEqual({ n: 1 })
    const status = await replicationStatus(primaryDr, 'performance')
    expect(status.mode).toBe('primary')
    expect([...status.known_secondaries].sort()).toEqual(['filtered', 'plain'])
    const filter = await client.read('sys/replication/performance/primary/paths-filter/filtered')
    expect(filter.body.data.paths).toContain('withheld_mount/')

    // They follow it with the credentials they have, once told where it is.
    await filteredDr.start()
    await Promise.all([plain, filteredDr].map((one) => repoint(one, 'performance', [primaryDr.clusterAddress])))
    await client.write('shared/after-both-promotions', { n: 2 })
    await client.write('withheld_mount/WITHHELDATTHEEND', { n: 2 })
    await waitUntilInSync(primaryDr, plain, 'performance')
    await caughtUp(primaryDr, filteredDr, 'performance')
    for (const one of [plain, filteredDr]) {
      expect((await one.client.read('shared/after-both-promotions')).body.data, one.name).toEqual({ n: 2 })
    }
    expect((await plain.client.read('withheld_mount/WITHHELDATTHEEND')).body.data).toEqual({ n: 2 })
    expect((await filteredDr.client.call('GET', 'withheld_mount/WITHHELDATTHEEND')).status).toBe(404)
    expect((await filteredDr.client.read('filtered_local/FILTEREDLOCALKEY')).status).toBe(200)
  })
})
