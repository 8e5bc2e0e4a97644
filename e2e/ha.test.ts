// Three nodes over one storage: what is acknowledged survives every way in which the active one can go, clients notice it for moments only, and a leader
// that was stopped and lost its lock cannot write.
import { type HaCluster, waitFor } from '@lockstep/dev-env'
import { beforeAll, describe, expect, test } from 'vitest'
import { haScratch, inSeconds, loadThroughAll, outages, STORAGES, untilWrites } from './ha-load.ts'
import { missingOn } from './ledger.ts'
import { scratch } from './scratch.ts'

const KILLS = Number(process.env.LOCKSTEP_HA_KILLS ?? 2)

const files = scratch()
const start = haScratch(files)

describe.each(STORAGES)('three nodes over %s', (storage) => {
  let cluster: HaCluster

  beforeAll(async () => {
    cluster = await start(`ha-${storage}`, { storage })
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
  })

  test(`${KILLS} times kill -9 of the active node under load: no acknowledged write is lost`, {
    timeout: 120_000 + KILLS * 60_000,
  }, async () => {
    const load = await loadThroughAll(cluster, 'kv/killed')
    const moments: number[] = []
    for (let round = 0; round < KILLS; round++) {
      const active = await cluster.active()
      moments.push(Date.now())
      await active.kill()
      await untilWrites(load)
      await active.start()
      await waitFor(`${active.name} to be a standby`, async () => (await active.state()) === 'standby')
    }
    await untilWrites(load)
    await load.stop()
    const pauses = outages(load.acknowledged, moments, Date.now())
    const missing = await missingOn(cluster, load.acknowledged, cluster.client.token)
    console.log(
      `${storage}: ${KILLS} x kill -9 under load: ${load.acknowledged.length} acknowledged writes, ${missing.length} lost; ` +
        `outage as clients see it ${inSeconds(pauses)}`,
    )
    expect(missing).toEqual([])
  })

  test('step-down and SIGTERM: no acknowledged write is lost, and another node takes over at once', async () => {
    const load = await loadThroughAll(cluster, 'kv/asked')
    const moments: number[] = []
    for (const way of ['step-down', 'SIGTERM'] as const) {
      const before = await cluster.active()
      moments.push(Date.now())
      if (way === 'SIGTERM') await before.stop()
      else await before.client.write('sys/step-down', {}, { token: cluster.client.token })
      await waitFor('another active node', async () => (await cluster.active()) !== before)
      await untilWrites(load)
      await before.start()
      await waitFor(`${before.name} to be a standby`, async () => (await before.state()) === 'standby')
    }
    await load.stop()
    const [stepDown, sigterm] = outages(load.acknowledged, moments, Date.now())
    const missing = await missingOn(cluster, load.acknowledged, cluster.client.token)
    console.log(
      `${storage}: step-down: outage ${stepDown!.toFixed(2)} s; SIGTERM: ${sigterm!.toFixed(2)} s; ` +
        `${load.acknowledged.length} acknowledged writes, ${missing.length} lost`,
    )
    expect(missing).toEqual([])
  })
})
