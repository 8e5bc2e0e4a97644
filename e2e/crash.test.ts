// kill -9 of either side at any moment, under a write load: no acknowledged write is lost, and both ends agree again by themselves.
import { type Cluster, linkSecondary, replicationStatus, waitFor, waitUntilInSync } from '@lockstep/dev-env'
import { beforeAll, describe, expect, test } from 'vitest'
import { addOperator, login, scratch } from './scratch.ts'

const files = scratch()
const ROUNDS = process.env.SLOW === '1' ? 40 : 8
const WRITERS = 8
const KEYS_PER_WRITER = 25

/** The newest acknowledged and the newest attempted value of each key; each key has one writer. */
interface Ledger {
  acknowledged: Map<string, number>
  attempted: Map<string, number>
}

/** Writes until stopped; what got no answer may or may not have happened. */
function writer(cluster: Cluster, id: number, ledger: Ledger): { stop(): Promise<void>; count(): number } {
  let running = true
  let count = 0
  let value = 0
  const loop = async (): Promise<void> => {
    while (running) {
      const key = `load/${id}/${count % KEYS_PER_WRITER}`
      value++
      ledger.attempted.set(key, value)
      try {
        const reply = await cluster.client.call('PUT', key, { value }, { timeoutMs: 10_000 })
        if (reply.status === 204) {
          ledger.acknowledged.set(key, value)
          count++
        } else await new Promise((resolve) => setTimeout(resolve, 50))
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }
  const done = loop()
  return {
    count: () => count,
    async stop() {
      running = false
      await done
    },
  }
}

async function check(cluster: Cluster, ledger: Ledger): Promise<void> {
  for (const [key, acknowledged] of ledger.acknowledged) {
    const reply = await cluster.client.call('GET', key)
    expect(reply.status, key).toBe(200)
    const { value } = reply.body.data
    expect(value, key).toBeGreaterThanOrEqual(acknowledged)
    expect(value, key).toBeLessThanOrEqual(ledger.attempted.get(key)!)
  }
}

describe('kill -9 under load', () => {
  let primary: Cluster
  let performance: Cluster
  let dr: Cluster
  const ledger: Ledger = { acknowledged: new Map(), attempted: new Map() }

  beforeAll(async () => {
    primary = await files.cluster('primary')
    performance = await files.cluster('performance')
    dr = await files.cluster('dr')
    await addOperator(primary)
    await primary.client.write('sys/mounts/load', { type: 'kv' })
    for (const [kind, secondary] of [
      ['performance', performance],
      ['dr', dr],
    ] as const) {
      await primary.client.write(`sys/replication/${kind}/primary/enable`)
      await waitFor('the primary role', async () => (await replicationStatus(primary, kind))?.mode === 'primary')
      await linkSecondary(primary, secondary, kind, kind)
      await waitUntilInSync(primary, secondary, kind)
    }
  })

  test(`${ROUNDS} kills`, { timeout: 60_000 + ROUNDS * 15_000 }, async () => {
    const writers = Array.from({ length: WRITERS }, (_, id) => writer(primary, id, ledger))
    for (let round = 0; round < ROUNDS; round++) {
      const victim = [primary, performance, primary, dr][round % 4]!
      await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 800))
      await victim.stop('SIGKILL')
      await victim.start()
    }
    await new Promise((resolve) => setTimeout(resolve, 500))
    for (const one of writers) await one.stop()
    expect(writers.reduce((sum, one) => sum + one.count(), 0)).toBeGreaterThan(100)
    await check(primary, ledger)
    await waitUntilInSync(primary, performance, 'performance')
    await waitUntilInSync(primary, dr, 'dr')
    await login(performance)
    await check(performance, ledger)
  })

  test('the DR secondary, promoted, holds every acknowledged write too', async () => {
    const { drOperationToken } = await import('@lockstep/dev-env')
    await primary.stop('SIGKILL')
    await dr.client.write(
      'sys/replication/dr/secondary/promote',
      { dr_operation_token: await drOperationToken(dr) },
      { token: '' },
    )
    await waitFor('the promotion', async () => (await dr.client.call('GET', 'sys/health')).status === 200)
    dr.client.token = primary.client.token
    await check(dr, ledger)
  })
})
