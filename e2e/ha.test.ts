// Three nodes over one storage: what is acknowledged survives every way in which the active one can go, clients notice it for moments only, and a leader
// that was stopped and lost its lock cannot write.
import { enablePrimary, type HaCluster, waitFor } from '@lockstep/dev-env'
import { beforeAll, describe, expect, test } from 'vitest'
import { readHistory, recordHistory, storedData, violations } from './ha-history.ts'
import { haScratch, inSeconds, loadThroughAll, outages, STORAGES, untilWrites } from './ha-load.ts'
import { type Acknowledged, missingOn } from './ledger.ts'
import { scratch } from './scratch.ts'

const KILLS = Number(process.env.LOCKSTEP_HA_KILLS ?? 2)

const files = scratch()
const start = haScratch(files)

describe.each(STORAGES)('three nodes over %s', (storage) => {
  let cluster: HaCluster

  beforeAll(async () => {
    cluster = await start(`ha-${storage}`, { storage })
    await recordHistory(cluster)
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    // With it the log's records are kept, so that the history shows each of them.
    await enablePrimary(cluster, 'performance')
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

  test('a leader that is stopped (SIGSTOP) and goes on after its lock is gone writes nothing any more', async () => {
    const token = cluster.client.token
    const old = await cluster.active()
    const load = await loadThroughAll(cluster, 'kv/stopped')
    // Requests it has begun with when it stops, and those that reach it while it is stopped, which it finds when it goes on.
    const inFlight: Acknowledged[] = []
    const answers: number[] = []
    const ask = async (key: string, n: number): Promise<void> => {
      const reply = await old.client.call('PUT', key, { n }, { token, timeoutMs: 60_000 }).catch(() => undefined)
      answers.push(reply?.status ?? 0)
      if (reply?.status === 204) inFlight.push({ key, n, by: old.name, at: Date.now(), index: undefined })
    }
    const before = Array.from({ length: 40 }, (_, n) => ask(`kv/in-flight/${n}`, n))
    await waitFor('the first of them', () => answers.length > 0, { intervalMs: 1 })
    old.pause()
    const stoppedAt = Date.now()
    const during = Array.from({ length: 20 }, (_, n) => ask(`kv/while-stopped/${n}`, n))
    const others = cluster.nodes.filter((node) => node !== old)
    await waitFor('another active node', async () => {
      const states = await Promise.all(others.map((node) => node.state()))
      return states.includes('active')
    })
    const tookOver = (Date.now() - stoppedAt) / 1000
    await untilWrites(load)
    const first = answers.length
    old.resume()
    await Promise.all([...before, ...during])
    const late = answers.slice(first)
    await waitFor(`${old.name} to be a standby`, async () => (await old.state()) === 'standby')
    await untilWrites(load)
    await load.stop()

    const acknowledged = [...load.acknowledged, ...inFlight]
    const missing = await missingOn(cluster, acknowledged, token)
    const history = await readHistory(cluster)
    const stored = storedData(history)
    console.log(
      `${storage}: leader stopped: another led after ${tookOver.toFixed(2)} s; continued, it answered ${late.length} requests: ${counts(late)}; ` +
        `${acknowledged.length} acknowledged writes, ${missing.length} lost; ${history.length} changes in the stored history`,
    )
    expect(missing).toEqual([])
    expect(acknowledged.filter(({ key }) => !stored.has(key.slice('kv/'.length)))).toEqual([])
    expect(violations(history)).toEqual([])
  })
})

function counts(statuses: readonly number[]): string {
  const by = new Map<number, number>()
  for (const status of statuses) by.set(status, (by.get(status) ?? 0) + 1)
  return [...by].map(([status, count]) => `${count} x ${status || 'no answer'}`).join(', ')
}
