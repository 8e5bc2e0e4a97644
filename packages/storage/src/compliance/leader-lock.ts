import assert from 'node:assert/strict'
import type { LeaderLock } from '../leader-lock.ts'
import { type ComplianceTest, type LeaderLockFixture, rejectsWith } from './fixture.ts'

export interface LeaderLockComplianceOptions {
  test: ComplianceTest
  /** Makes a cluster whose lock nobody holds, for each test. */
  factory: () => Promise<LeaderLockFixture>
}

type LockTest = (name: string, body: (node: () => Promise<LeaderLock>) => Promise<void>) => void

/** Registers tests of everything the `LeaderLock` contract promises. */
export function leaderLockCompliance(options: LeaderLockComplianceOptions): void {
  const test: LockTest = (name, body) => {
    options.test(name, async () => {
      const fixture = await options.factory()
      try {
        await body(() => fixture.node())
      } finally {
        await fixture.dispose?.()
      }
    })
  }

  test('lock: nobody holds it at first', async (node) => {
    assert.equal(await (await node()).holder(), undefined)
  })

  test('lock: what the leader publishes is seen by every node until it releases', async (node) => {
    const [a, b] = [await node(), await node()]
    const leadership = await a.acquire()
    await leadership.publish('first value')
    assert.equal(await b.holder(), 'first value')
    await leadership.publish('second value')
    assert.equal(await b.holder(), 'second value')
    assert.equal(await a.holder(), 'second value')
    await leadership.release()
    assert.equal(await b.holder(), undefined)
  })

  test('lock: a second node waits until the first releases, with a greater token', async (node) => {
    const [a, b] = [await node(), await node()]
    const first = await a.acquire()
    await first.publish('a')
    let acquired = false
    const waiting = b.acquire().then((leadership) => {
      acquired = true
      return leadership
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(acquired, false)
    await first.release()
    const second = await waiting
    assert.ok(second.fencingToken > first.fencingToken)
    assert.equal(await a.holder(), undefined, 'a new leader has published nothing yet')
    await second.publish('b')
    assert.equal(await a.holder(), 'b')
    await second.release()
  })

  test('lock: tokens grow over many acquisitions by different nodes', async (node) => {
    const nodes = [await node(), await node()]
    let last = -1n
    for (let i = 0; i < 6; i++) {
      const leadership = await nodes[i % 2]!.acquire()
      assert.ok(leadership.fencingToken > last)
      last = leadership.fencingToken
      await leadership.release()
    }
  })

  test('lock: at most one of many contenders holds it', async (node) => {
    let holders = 0
    await Promise.all(
      Array.from({ length: 5 }, async () => {
        const leadership = await (await node()).acquire()
        holders++
        assert.equal(holders, 1)
        await new Promise((resolve) => setTimeout(resolve, 5))
        holders--
        await leadership.release()
      }),
    )
  })

  test('lock: lost resolves on release, which may be repeated; publishing then is rejected', async (node) => {
    const leadership = await (await node()).acquire()
    await leadership.release()
    await leadership.lost
    await leadership.release()
    await rejectsWith('STORAGE_NOT_LEADER', () => leadership.publish('too late'))
  })

  test('lock: acquiring stops with the reason of its signal and leaves the lock usable', async (node) => {
    const [a, b] = [await node(), await node()]
    await assert.rejects(a.acquire(AbortSignal.abort(new Error('already'))), /already/)
    const first = await a.acquire()
    const controller = new AbortController()
    const waiting = b.acquire(controller.signal)
    setTimeout(() => controller.abort(new Error('enough')), 20)
    await assert.rejects(waiting, /enough/)
    const early = new AbortController()
    const starting = b.acquire(early.signal)
    early.abort(new Error('at once'))
    await assert.rejects(starting, /at once/)
    await first.release()
    const second = await b.acquire()
    assert.ok(second.fencingToken > first.fencingToken)
    await second.release()
  })
}
