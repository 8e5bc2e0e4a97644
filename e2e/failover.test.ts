// Failover and failback with eight writers at work: what was acknowledged is there, but for what the promotion's receipt says.
import {
  type Cluster,
  type ClusterProxy,
  clusterProxy,
  demotePrimary,
  enablePrimary,
  linkSecondary,
  promoteSecondary,
  replicationStatus,
  repoint,
  updatePrimary,
  waitFor,
  waitUntilInSync,
  withConsent,
} from '@lockstep/dev-env'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Acknowledged, type Load, longestPause, missingOn, startLoad } from './ledger.ts'
import { onDisk } from './on-disk.ts'
import { addOperator, login, scratch } from './scratch.ts'

const files = scratch()
const WRITERS = 8

async function isActive(cluster: Cluster): Promise<boolean> {
  return (await cluster.client.call('GET', 'sys/health')).status === 200
}

/** `n` more acknowledged writes. */
function progress(load: Load, n: number): Promise<unknown> {
  const from = load.acknowledged.length
  return waitFor(`${n} more writes`, () => load.acknowledged.length >= from + n, { timeoutMs: 60_000, intervalMs: 5 })
}

interface Receipt {
  epoch: number
  from: { epoch: number; index: number; digest: string }
}

async function newestReceipt(cluster: Cluster): Promise<Receipt> {
  return (await cluster.client.read('sys/replication/dr/promotion-receipts')).body.data.receipts[0]
}

async function previewPromotion(cluster: Cluster) {
  const fields = await withConsent(cluster, { dry_run: true })
  return (await cluster.client.write('sys/replication/dr/secondary/promote', fields, { token: '' })).body.data
}

interface Unreplicated {
  index: number
  /** In storage: `logical/<uuid>/<path in the mount>`. */
  key: string
  mount_path: string
}

/** What a DR secondary kept of its time as primary, from its only set. */
async function unreplicatedOf(cluster: Cluster): Promise<Unreplicated[]> {
  const base = 'sys/replication/dr/secondary/unreplicated'
  const ask = async (path: string, fields: Record<string, unknown> = {}) =>
    (await cluster.client.write(path, { ...fields, ...consent }, { token: '' })).body.data
  const consent = await withConsent(cluster)
  const { sets } = await ask(base)
  expect(sets).toEqual([expect.objectContaining({ exact: true, complete: true })])
  const entries: Unreplicated[] = []
  let after = ''
  do {
    const page = await ask(`${base}/${sets[0].id}`, { after, limit: 1000 })
    entries.push(...page.keys)
    after = page.next
  } while (after !== '')
  expect(entries).toHaveLength(sets[0].entries)
  return entries
}

/** The path in its mount. */
function nameOf(storageKey: string): string {
  return storageKey.split('/').slice(2).join('/')
}

function lastIndex(writes: readonly Acknowledged[]): number {
  return Math.max(...writes.map(({ index }) => index ?? 0))
}

async function setUp(primary: Cluster, dr: Cluster, performance: Cluster): Promise<string> {
  await addOperator(primary)
  await primary.client.write('sys/mounts/kv', { type: 'kv' })
  const made = await primary.client.write('auth/token/create', { policies: ['operator'], ttl: '2h' })
  await enablePrimary(primary, 'performance')
  await enablePrimary(primary, 'dr')
  await Promise.all([
    linkSecondary(primary, performance, 'performance', 'performance'),
    linkSecondary(primary, dr, 'dr', 'dr'),
  ])
  await Promise.all([waitUntilInSync(primary, performance, 'performance'), waitUntilInSync(primary, dr, 'dr')])
  await login(performance)
  return made.body.auth.client_token
}

describe('a planned switch and back, under load', () => {
  let here: Cluster
  let there: Cluster
  let performance: Cluster
  let token: string

  beforeAll(async () => {
    ;[here, there, performance] = await Promise.all([
      files.cluster('planned-here'),
      files.cluster('planned-there'),
      files.cluster('planned-performance'),
    ])
    token = await setUp(here, there, performance)
  })

  test('no acknowledged write is lost, tokens go on working, the performance secondary is carried over', async () => {
    const load = startLoad({ prefix: 'kv/planned', writers: WRITERS, token, to: here })
    await progress(load, 200)
    const pauses: number[] = []

    async function switchOver(from: Cluster, to: Cluster, id: string): Promise<void> {
      const began = Date.now()
      await demotePrimary(from, 'dr')
      const shown = await previewPromotion(to)
      expect(shown, to.name).toMatchObject({ safe: true, handed_over: true, reasons: [] })
      // Not forced: it was told that it has the last record.
      await promoteSecondary(to, 'dr')
      load.to(to)
      to.client.token = token
      expect(await newestReceipt(to)).toMatchObject({ handed_over: true, forced: false, epoch: shown.next_epoch })
      expect((await to.client.read('sys/leases/revocation-hold')).body.data.held).toBe(false)
      await repoint(performance, 'performance', [to.clusterAddress])
      await progress(load, 200)
      pauses.push(longestPause(load.acknowledged, began, Date.now()))
      await updatePrimary(to, from, 'dr', id)
      await waitFor(`${from.name} to stream`, async () => (await replicationStatus(from, 'dr')).state === 'stream-wals')
      await progress(load, 100)
    }

    await switchOver(here, there, 'here')
    expect(await isActive(there)).toBe(true)
    expect((await here.client.call('GET', 'sys/health')).status).toBe(472)
    const firstHalf = load.acknowledged.length
    await switchOver(there, here, 'there-again')
    await load.stop()

    await Promise.all([waitUntilInSync(here, performance, 'performance'), waitUntilInSync(here, there, 'dr')])
    expect((await replicationStatus(here, 'performance')).known_secondaries).toEqual(['performance'])
    const lost = await missingOn(here, load.acknowledged, token)
    const notOnSecondary = await missingOn(performance, load.acknowledged, performance.client.token)
    console.log(
      `planned: ${load.acknowledged.length} writes acknowledged (${firstHalf} before the failback), ${lost.length} lost; ` +
        `no write was taken for ${pauses.map((seconds) => `${seconds.toFixed(2)} s`).join(' and ')}`,
    )
    expect(lost).toEqual([])
    expect(notOnSecondary).toEqual([])
    expect(load.acknowledged.filter(({ by }) => by === 'planned-there').length).toBeGreaterThan(200)
  })
})

describe('an unplanned failover under load, and the failback', () => {
  let proxy: ClusterProxy
  let here: Cluster
  let there: Cluster
  let performance: Cluster
  let secondDr: Cluster
  let token: string

  afterAll(() => proxy?.close())
  beforeAll(async () => {
    proxy = await clusterProxy()
    ;[here, there, performance, secondDr] = await Promise.all([
      files.cluster('here', { config: { cluster_addr: proxy.address } }),
      files.cluster('there'),
      files.cluster('performance'),
      files.cluster('second-dr'),
    ])
    proxy.to(here.clusterAddress)
    token = await setUp(here, there, performance)
    await linkSecondary(here, secondDr, 'dr', 'second-dr')
    await waitUntilInSync(here, secondDr, 'dr')
  })

  let receipt: Receipt
  let byOldPrimary: Acknowledged[]
  let lost: Acknowledged[]
  /** Acknowledged by the new primary. */
  const byNewPrimary: Acknowledged[] = []

  test('exactly what came after the receipt is lost', async () => {
    const load = startLoad({ prefix: 'kv/first', writers: WRITERS, token, to: here })
    await progress(load, 300)

    // The DR links fall silent, the primary goes on, and dies.
    proxy.pause('dr')
    const before = load.acknowledged.length
    await progress(load, 100)
    const killed = Date.now()
    await here.stop('SIGKILL')
    proxy.cut('dr')
    proxy.resume('dr')

    const shown = await previewPromotion(there)
    await promoteSecondary(there, 'dr', { force: true })
    load.to(there)
    there.client.token = token
    await progress(load, 100)
    const outage = longestPause(load.acknowledged, killed, Date.now())
    await load.stop()

    receipt = await newestReceipt(there)
    expect(receipt).toMatchObject({ forced: true, handed_over: false, inherited: false, epoch: shown.next_epoch })
    expect(receipt.from.index).toBe(shown.last_applied_index)
    byOldPrimary = load.acknowledged.filter(({ by }) => by === 'here')
    byNewPrimary.push(...load.acknowledged.filter(({ by }) => by === 'there'))
    lost = await missingOn(there, byOldPrimary, token)
    console.log(
      `unplanned: ${byOldPrimary.length} writes acknowledged by the old primary (${byOldPrimary.length - before} with the DR links silent), ` +
        `${lost.length} lost; the receipt ends at index ${receipt.from.index}, the last answer named ${lastIndex(byOldPrimary)}; ` +
        `no write was taken for ${outage.toFixed(2)} s`,
    )
    expect(lost.length).toBeGreaterThan(0)
    expect(lost.length).toBeLessThan(byOldPrimary.length)
    // An answer names the log's head, which is at its write or after: up to the receipt nothing is missing.
    for (const write of lost) expect(write.index, write.key).toBeGreaterThan(receipt.from.index)
    expect(await missingOn(there, byNewPrimary, token)).toEqual([])
    // Leases are not revoked by a cluster that may not know of their renewal.
    expect((await there.client.read('sys/leases/revocation-hold')).body.data.held).toBe(true)
    await there.client.write('sys/leases/revocation-hold/confirm')
  })

  test('the secondaries follow the new primary, also back from what it never got', async () => {
    // This one's link was not silent: it is ahead of the cluster that was promoted.
    const ahead = await missingOn(performance, lost, performance.client.token)
    expect(ahead.length).toBeLessThan(lost.length)
    await repoint(performance, 'performance', [there.clusterAddress])
    await updatePrimary(there, secondDr, 'dr', 'second-dr-again')
    await Promise.all([waitUntilInSync(there, performance, 'performance'), waitUntilInSync(there, secondDr, 'dr')])
    expect(await missingOn(performance, lost, performance.client.token)).toHaveLength(lost.length)
    expect(await missingOn(performance, byNewPrimary, performance.client.token)).toEqual([])
  })

  test('the old primary comes back as a primary, and none of those who followed the new one accepts it', async () => {
    await here.start()
    expect(await replicationStatus(here, 'performance')).toMatchObject({ mode: 'primary' })
    expect(await replicationStatus(here, 'dr')).toMatchObject({ mode: 'primary' })
    await here.client.write('kv/by-the-stale-primary', { accepted: false })

    // Its certificate is as good as ever, so only the epoch tells that it leads no longer.
    await repoint(performance, 'performance', [here.clusterAddress])
    const status = await waitFor('the performance secondary to refuse it', async () => {
      const shown = await replicationStatus(performance, 'performance')
      return /epoch/.test(shown.last_error) ? shown : false
    })
    expect(status).toMatchObject({ mode: 'secondary', state: 'idle' })
    expect(status.last_error).toMatch(/another cluster was promoted|was followed before/)
    const stale = await waitFor('the old primary to be told', async () => {
      const shown = await replicationStatus(here, 'performance')
      return shown.fenced_by_epoch === undefined ? false : shown
    })
    expect(stale).toMatchObject({ fenced_by: 'performance', fenced_by_epoch: receipt.epoch })
    expect((await performance.client.call('GET', 'kv/by-the-stale-primary')).status).toBe(404)

    // The DR set has a new authority: the old primary cannot even prove to be of it.
    await expect(repoint(secondDr, 'dr', [here.clusterAddress])).rejects.toThrow(
      /update_primary_addrs: no primary answers/,
    )
    expect(await replicationStatus(secondDr, 'dr')).toMatchObject({ state: 'stream-wals', connection_state: 'ready' })

    await repoint(performance, 'performance', [there.clusterAddress])
    await waitUntilInSync(there, performance, 'performance')
    expect((await performance.client.call('GET', 'kv/by-the-stale-primary')).status).toBe(404)
  })

  test('demoted, it yields exactly the lost writes and rejoins without a wipe', async () => {
    const load = startLoad({ prefix: 'kv/second', writers: WRITERS, token, to: there })
    await progress(load, 50)
    await demotePrimary(here, 'dr')
    const began = Date.now()
    await updatePrimary(there, here, 'dr', 'old-primary')
    await waitFor(
      'the old primary to stream',
      async () => (await replicationStatus(here, 'dr')).state === 'stream-wals',
    )
    const rejoined = (Date.now() - began) / 1000
    const { last_diff_reason } = await replicationStatus(here, 'dr')
    await progress(load, 50)
    await load.stop()
    byNewPrimary.push(...load.acknowledged)
    await waitUntilInSync(there, here, 'dr')

    const kept = await unreplicatedOf(here)
    const keptWrites = new Map(kept.map(({ key, mount_path, index }) => [mount_path + nameOf(key), index]))
    const missed = byOldPrimary.filter(({ key }) => keptWrites.has(key))
    console.log(
      `the old primary kept ${kept.length} unreplicated entries, ${missed.length} of them acknowledged to clients before the failover; ` +
        `it streams ${rejoined.toFixed(2)} s after update-primary (${last_diff_reason})`,
    )
    expect(missed.map(({ key }) => key).sort()).toEqual(lost.map(({ key }) => key).sort())
    expect(keptWrites.has('kv/by-the-stale-primary')).toBe(true)
    for (const { key, index } of kept) expect(index, key).toBeGreaterThan(receipt.from.index)
    for (const write of lost) expect(keptWrites.get(write.key), write.key).toBeLessThanOrEqual(write.index!)

    // Without a wipe: the storage is of the same generation as on the first day.
    await here.stop()
    const generations = new Set((await onDisk(here)).keys.map((key) => /^g\d+\//.exec(key)?.[0]))
    expect([...generations].filter((found) => found !== undefined)).toEqual(['g0/'])
    await here.start()
    await waitUntilInSync(there, here, 'dr')
  })

  test('failback under load loses nothing', async () => {
    const load = startLoad({ prefix: 'kv/third', writers: WRITERS, token, to: there })
    await progress(load, 100)
    const began = Date.now()
    await demotePrimary(there, 'dr')
    expect(await previewPromotion(here)).toMatchObject({ safe: true, handed_over: true })
    await promoteSecondary(here, 'dr')
    load.to(here)
    await repoint(performance, 'performance', [here.clusterAddress])
    await progress(load, 100)
    const outage = longestPause(load.acknowledged, began, Date.now())
    await Promise.all([
      updatePrimary(here, there, 'dr', 'there-again'),
      updatePrimary(here, secondDr, 'dr', 'second-again'),
    ])
    await load.stop()
    await Promise.all([
      waitUntilInSync(here, performance, 'performance'),
      waitUntilInSync(here, there, 'dr'),
      waitUntilInSync(here, secondDr, 'dr'),
    ])
    const all = [...byNewPrimary, ...load.acknowledged]
    const [onPrimary, onSecondary] = await Promise.all([
      missingOn(here, all, token),
      missingOn(performance, all, performance.client.token),
    ])
    console.log(
      `failback: ${all.length} writes since the failover, ${onPrimary.length} lost; no write was taken for ${outage.toFixed(2)} s`,
    )
    expect(onPrimary).toEqual([])
    expect(onSecondary).toEqual([])
    expect((await here.client.read('sys/replication/dr/promotion-receipts')).body.data.receipts).toHaveLength(2)
  })
})
