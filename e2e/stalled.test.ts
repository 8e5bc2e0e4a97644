// A secondary that stands still, or is slower than the keys change, while the primary keeps little of its log: it comes back by itself,
// with one comparison and not with one after the other.
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Cluster,
  type ClusterProxy,
  clusterProxy,
  enablePrimary,
  linkSecondary,
  replicationStatus,
  waitFor,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addOperator, login, scratch } from './scratch.ts'

const files = scratch()
const WRITERS = 8
const HOT_KEYS = 40
const VALUE_BYTES = 8 * 1024
const LOG_CAP = 1024 * 1024
/** More than the log and the 4 MiB that may be under way unacknowledged. */
const WRITTEN_OVER = 12 * 1024 * 1024

interface HotLoad {
  bytes(): number
  stop(): Promise<void>
}

function hotLoad(primary: Cluster): HotLoad {
  let running = true
  let bytes = 0
  const writer = async (id: number): Promise<void> => {
    for (let n = id; running; n++) {
      const value = randomBytes(VALUE_BYTES / 2).toString('hex')
      await primary.client.write(`kv/hot-${n % HOT_KEYS}`, { value })
      bytes += VALUE_BYTES
    }
  }
  const done = Promise.all(Array.from({ length: WRITERS }, (_, id) => writer(id)))
  return {
    bytes: () => bytes,
    async stop() {
      running = false
      await done
    },
  }
}

/** Counts comparisons over all links: each link counts its own from 0. */
function diffCounter(secondary: Cluster) {
  let total = 0
  let last: number | undefined
  let running = true
  const reasons = new Set<string>()
  const poll = async (): Promise<void> => {
    while (running) {
      const status = await replicationStatus(secondary, 'performance').catch(() => undefined)
      if (status !== undefined) {
        const { diff_rounds: rounds, last_diff_reason: reason } = status
        if (last !== undefined && rounds !== last) {
          total += rounds > last ? rounds - last : rounds
          reasons.add(reason)
        }
        last = rounds
      }
      await delay(20)
    }
  }
  const done = poll()
  return {
    total: () => total,
    reasons: () => [...reasons],
    async stop() {
      running = false
      await done
    },
  }
}

async function residentMiB(cluster: Cluster): Promise<number> {
  const status = await readFile(`/proc/${cluster.process.pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) / 1024
}

describe('hot keys and a log of 1 MiB', () => {
  let proxy: ClusterProxy
  let primary: Cluster
  let secondary: Cluster

  afterAll(() => proxy?.close())
  beforeAll(async () => {
    proxy = await clusterProxy()
    ;[primary, secondary] = await Promise.all([
      files.cluster('primary', {
        config: { cluster_addr: proxy.address, replication: { logshipper_buffer_size: String(LOG_CAP) } },
      }),
      files.cluster('secondary'),
    ])
    proxy.to(primary.clusterAddress)
    await addOperator(primary)
    await primary.client.write('sys/mounts/kv', { type: 'kv' })
    for (let n = 0; n < 500; n++) await primary.client.write(`kv/cold-${n}`, { n })
    await enablePrimary(primary, 'performance')
    await linkSecondary(primary, secondary, 'performance', 'second')
    await waitUntilInSync(primary, secondary, 'performance')
    await login(secondary)
  })

  /** Until it streams, and has what the primary had when this was called. */
  async function streaming(): Promise<void> {
    const head = (await replicationStatus(primary, 'performance')).last_wal
    await waitFor(
      'the stream',
      async () => {
        const { state, connection_state, last_remote_wal } = await replicationStatus(secondary, 'performance')
        return state === 'stream-wals' && connection_state === 'ready' && last_remote_wal >= head
      },
      { timeoutMs: 60_000 },
    )
  }

  test('a secondary that stood still until the log was written over several times streams again after one comparison', async () => {
    const load = hotLoad(primary)
    await waitFor('some load', () => load.bytes() > 50 * VALUE_BYTES)
    const counter = diffCounter(secondary)
    const before = await residentMiB(primary)
    secondary.process.signal('SIGSTOP')
    const [stoppedAt, from] = [Date.now(), load.bytes()]
    await waitFor('the log to be written over', () => load.bytes() > from + WRITTEN_OVER, { timeoutMs: 90_000 })
    const during = await residentMiB(primary)
    const stalledMs = Date.now() - stoppedAt
    secondary.process.signal('SIGCONT')
    const resumedAt = Date.now()
    await streaming()
    const backMs = Date.now() - resumedAt
    const rounds = counter.total()

    // No loop: under the same load it goes on streaming.
    const resumed = load.bytes()
    await waitFor('as much load again', () => load.bytes() > resumed + 3 * LOG_CAP, { timeoutMs: 60_000 })
    await streaming()
    await counter.stop()
    const written = load.bytes() - from
    await load.stop()
    await waitUntilInSync(primary, secondary, 'performance')
    console.log(
      `stalled ${(stalledMs / 1000).toFixed(1)} s under ${(written / 1024 / 1024).toFixed(1)} MiB of hot-key writes: streams again after ` +
        `${backMs} ms and ${rounds} comparison(s) (${counter.reasons().join('; ')}), ${counter.total() - rounds} afterwards; ` +
        `primary's memory ${before.toFixed(0)} -> ${during.toFixed(0)} MiB`,
    )
    expect(counter.reasons().join()).toContain('the log no longer reaches back')
    expect(rounds).toBeGreaterThanOrEqual(1)
    expect(rounds).toBeLessThanOrEqual(2)
    expect(counter.total()).toBe(rounds)
    expect(during - before).toBeLessThan(128)
    expect((await secondary.client.read('kv/cold-499')).body.data).toEqual({ n: 499 })
  })

  test('a secondary whose link is too slow for the load gets on with every comparison, and streams once it can', async () => {
    const load = hotLoad(primary)
    await waitFor('some load', () => load.bytes() > 50 * VALUE_BYTES)
    const counter = diffCounter(secondary)
    // A sixth of what a second of this load writes, or less.
    const [from, at] = [load.bytes(), Date.now()]
    await delay(1000)
    const perSecond = ((load.bytes() - from) * 1000) / (Date.now() - at)
    proxy.throttle('performance', perSecond / 6)
    const slow = load.bytes()
    // Until it has lost the log once; then as much load again.
    await waitFor('a comparison', () => counter.total() > 0 || load.bytes() > slow + 3 * WRITTEN_OVER, {
      timeoutMs: 90_000,
    })
    const first = load.bytes()
    await waitFor('more load', () => load.bytes() > first + WRITTEN_OVER, { timeoutMs: 90_000 })
    const rounds = counter.total()
    const status = await replicationStatus(secondary, 'performance')
    proxy.throttle('performance', Number.POSITIVE_INFINITY)
    await streaming()
    // Under the same load, without comparing once more.
    const [atEase, resumed] = [counter.total(), load.bytes()]
    await waitFor('more load', () => load.bytes() > resumed + 3 * LOG_CAP, { timeoutMs: 90_000 })
    await streaming()
    const afterwards = counter.total() - atEase
    await counter.stop()
    await load.stop()
    await waitUntilInSync(primary, secondary, 'performance')
    const starts = counter.reasons().map((reason) => Number(/no longer reaches back to index (\d+)/.exec(reason)?.[1]))
    console.log(
      `link at ${(perSecond / 6 / 1024).toFixed(0)} KiB/s under ${(perSecond / 1024).toFixed(0)} KiB/s of hot-key writes, ${((resumed - slow) / 1024 / 1024).toFixed(1)} MiB: ` +
        `${rounds} comparison(s), begun at index ${starts.join(', ')}; ${status.lag_ms.toFixed(0)} ms behind at the end (${status.state}); ${afterwards} afterwards`,
    )
    // While a comparison takes longer than the log lasts another follows, each from a later place, and moves no more than the keys there are.
    expect(starts).toEqual([...new Set(starts)].sort((one, other) => one - other))
    expect(rounds).toBeLessThanOrEqual(1 + WRITTEN_OVER / 6 / (HOT_KEYS * VALUE_BYTES) + 5)
    expect(afterwards).toBe(0)
  })
})
