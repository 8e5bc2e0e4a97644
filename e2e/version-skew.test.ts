// Clusters of different releases: the environment restricts which protocol versions a server speaks, as if it were an older or a newer one.
import {
  type Cluster,
  enablePrimary,
  linkSecondary,
  type ReplicationKind,
  replicationStatus,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { describe, expect, test } from 'vitest'
import { addOperator, login, scratch } from './scratch.ts'

const files = scratch()
const ENV = 'LOCKSTEP_REPLICATION_PROTOCOL'

/** A primary that speaks the one range, and a secondary of each of the kinds that speaks the other. */
async function set(name: string, upstream: string, downstream: string, kinds: readonly ReplicationKind[]) {
  const [primary, ...secondaries] = await Promise.all([
    files.cluster(`${name}-primary`, { env: { [ENV]: upstream } }),
    ...kinds.map((kind) => files.cluster(`${name}-${kind}`, { env: { [ENV]: downstream } })),
  ])
  await addOperator(primary)
  await primary.client.write('sys/mounts/kv', { type: 'kv' })
  for (const kind of kinds) await enablePrimary(primary, kind)
  await Promise.all(kinds.map((kind, n) => linkSecondary(primary, secondaries[n]!, kind, kind)))
  return { primary, secondaries }
}

/** The same cluster as another release: restarted with another range. */
async function upgrade(cluster: Cluster, range: string): Promise<void> {
  await cluster.stop()
  cluster.env[ENV] = range
  await cluster.start()
}

async function spoken(cluster: Cluster, kind: ReplicationKind): Promise<number> {
  const status = await replicationStatus(cluster, kind)
  return status.mode === 'primary' ? status.secondaries[0].protocol : status.protocol
}

describe.each([
  ['newer', '1', '1-2'],
  ['older', '1-2', '1'],
])('a secondary that is one version %s than its primary', (word, upstream, downstream) => {
  test('syncs, streams and forwards in the older version, and in the newer once both were upgraded', async () => {
    const { primary, secondaries } = await set(word, upstream, downstream, ['performance', 'dr'])
    const [performance, dr] = secondaries as [Cluster, Cluster]
    const inSync = () =>
      Promise.all([waitUntilInSync(primary, performance, 'performance'), waitUntilInSync(primary, dr, 'dr')])
    await inSync()
    await login(performance)
    await primary.client.write('kv/streamed', { n: 1 })
    await performance.client.write('kv/forwarded', { n: 2 })
    await inSync()
    expect((await performance.client.read('kv/streamed')).body.data).toEqual({ n: 1 })
    expect((await primary.client.read('kv/forwarded')).body.data).toEqual({ n: 2 })
    for (const [cluster, kind] of [
      [primary, 'performance'],
      [primary, 'dr'],
      [performance, 'performance'],
      [dr, 'dr'],
    ] as const) {
      expect(await spoken(cluster, kind), `${cluster.name} ${kind}`).toBe(1)
    }

    // Writes that one end missed cross the change of version as well.
    const old = upstream === '1' ? [primary] : [performance, dr]
    for (const cluster of old) await upgrade(cluster, '')
    await primary.client.write('kv/after-the-upgrade', { n: 3 })
    await inSync()
    await login(performance)
    expect((await performance.client.read('kv/after-the-upgrade')).body.data).toEqual({ n: 3 })
    expect(await spoken(performance, 'performance')).toBe(2)
    expect(await spoken(dr, 'dr')).toBe(2)
  })
})

describe('clusters that have no version in common', () => {
  test.each([
    [
      'secondary',
      'performance',
      '2',
      '1',
      'the primary speaks protocol 2 to 2, the secondary 1 to 1: upgrade the secondary',
    ],
    ['primary', 'dr', '1', '2', 'the primary speaks protocol 1 to 1, the secondary 2 to 2: upgrade the primary'],
  ] as const)('say on both ends that the %s must be upgraded (%s), and agree once it was', async (...row) => {
    const [older, kind, upstream, downstream, why] = row
    const { primary, secondaries } = await set(`apart-${older}`, upstream, downstream, [kind])
    const secondary = secondaries[0]!
    await primary.client.write('kv/waiting', { n: 1 })
    const status = await waitFor('the refusal', async () => {
      const shown = await replicationStatus(secondary, kind)
      return shown.last_error?.includes('upgrade the') ? shown : false
    })
    expect(status.last_error).toContain(why)
    expect(status).toMatchObject({ mode: 'bootstrapping', state: 'idle' })
    expect(status.connection_state).not.toBe('ready')
    const refused = (await replicationStatus(primary, kind)).secondaries[0]
    expect(refused).toMatchObject({ node_id: kind, last_error: expect.stringContaining(why) })
    for (const cluster of [primary, secondary]) {
      await waitFor(`a log line of ${cluster.name}`, () => cluster.process.output().includes(why))
    }

    await upgrade(older === 'primary' ? primary : secondary, '')
    await waitUntilInSync(primary, secondary, kind)
    expect(await replicationStatus(secondary, kind)).toMatchObject({
      mode: 'secondary',
      protocol: Number(upstream === '1' ? downstream : upstream),
    })
    if (kind === 'dr') return
    await login(secondary)
    expect((await secondary.client.read('kv/waiting')).body.data).toEqual({ n: 1 })
  })
})

test('a range that this build does not speak keeps the server from starting', async () => {
  await expect(files.cluster('future', { env: { [ENV]: '7' } })).rejects.toThrow(
    /LOCKSTEP_REPLICATION_PROTOCOL: expected/,
  )
})
