import { memoryEngine } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import { LinkError, type LoggedStore, type LoggedStoreOptions } from '../src/index.ts'
import { bytes, checkDisk, faultyEngine, open, text } from './fixture.ts'
import { type Replication, type ReplicationSetup, replicate } from './replication-fixture.ts'

const running: Replication[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.close()))
})

function start(setup: ReplicationSetup): Replication {
  const replication = replicate(setup)
  running.push(replication)
  return replication
}

/** On a performance secondary: everything but class replicated. */
const readOnlyShared: Partial<LoggedStoreOptions> = { writable: (keyClass) => keyClass.class !== 'replicated' }

async function fill(store: LoggedStore, prefix: string, count: number): Promise<void> {
  for (let first = 0; first < count; first += 500) {
    const transaction = await store.begin()
    for (let n = first; n < Math.min(count, first + 500); n++)
      await transaction.put(`${prefix}${n}`, bytes(`value ${n}`))
    await transaction.commit()
  }
}

async function keys(store: LoggedStore, prefix = ''): Promise<string[]> {
  const found: string[] = []
  for await (const [key] of store.scan({ prefix })) found.push(key)
  return found.filter((key) => !key.startsWith('ignored/'))
}

test('a performance secondary gets shared data by Merkle sync and then by log, and keeps its own local data', async () => {
  const primary = await open(memoryEngine())
  const disk = memoryEngine()
  const secondary = await open(disk, readOnlyShared)
  await fill(primary, 'secret/', 3000)
  await primary.put('local/secret/lease', bytes('stays'))
  await secondary.put('local/own/lease', bytes('mine'))
  const replication = start({ primary, secondary, kind: 'performance' })
  await replication.settled()
  expect(await keys(secondary, 'secret/')).toHaveLength(3000)

  await primary.put('secret/new', bytes('streamed'))
  await primary.delete('secret/7')
  await primary.put('policy', bytes('core data'))
  await replication.settled()
  expect(text(await secondary.get('secret/new'))).toBe('streamed')
  expect(await secondary.get('secret/7')).toBeUndefined()
  expect(text(await secondary.get('policy'))).toBe('core data')
  expect(await keys(secondary, 'local/')).toEqual(['local/own/lease'])
  await expect(secondary.put('secret/x', bytes('no'))).rejects.toMatchObject({ code: 'REPLICATION_READ_ONLY' })
  expect(replication.follower.status()).toMatchObject({
    connectionState: 'ready',
    rounds: 1,
    guardFailures: 0,
    lagMs: 0,
  })
  expect(replication.sender().status()).toMatchObject({ state: 'stream-wals', rounds: 1 })
  await checkDisk(disk)
})

test('a DR secondary gets local data too', async () => {
  const [primary, secondary] = [await open(memoryEngine()), await open(memoryEngine(), { writable: () => false })]
  await primary.put('local/secret/lease', bytes('travels'))
  await primary.put('secret/a', bytes('1'))
  await primary.put('ignored/here', bytes('stays'))
  const replication = start({ primary, secondary, kind: 'dr' })
  await replication.settled()
  expect(await keys(secondary)).toEqual(['local/secret/lease', 'secret/a'])
  expect(await secondary.get('ignored/here')).toBeUndefined()
})

test('writes go on during the first sync and during a storm of changes to the same keys', async () => {
  const [primary, secondary] = [await open(memoryEngine()), await open(memoryEngine(), { writable: () => false })]
  await fill(primary, 'secret/', 2000)
  const replication = start({ primary, secondary, kind: 'dr' })
  for (let n = 0; n < 400; n++) {
    await primary.put(`secret/${n % 5}`, bytes(`hot ${n}`))
    await primary.put(`secret/extra${n}`, bytes('x'))
    if (n % 3 === 0) await primary.delete(`secret/${n}`)
  }
  await replication.settled()
  expect(replication.follower.status()).toMatchObject({ rounds: 1, guardFailures: 0 })
})

test('a cut link resumes from the log, also after the secondary has restarted', async () => {
  const disk = memoryEngine()
  const [primary, secondary] = [await open(memoryEngine()), await open(disk, { writable: () => false })]
  await fill(primary, 'secret/', 300)
  const first = start({ primary, secondary, kind: 'dr' })
  await first.settled()
  first.cut()
  await primary.put('secret/meanwhile', bytes('1'))
  await first.settled()
  expect(first.links()).toBe(2)
  expect(first.follower.status().rounds).toBe(0)
  await first.close()
  await secondary.close()

  await primary.put('secret/later', bytes('2'))
  const reopened = await open(disk, { writable: () => false })
  const second = start({ primary, secondary: reopened, kind: 'dr' })
  await second.settled()
  expect(second.sent.get('diff-begin')).toBeUndefined()
  expect(text(await reopened.get('secret/later'))).toBe('2')
})

test('a filter purges what it withholds and fills in what it no longer does', async () => {
  const [primary, secondary] = [await open(memoryEngine()), await open(memoryEngine(), readOnlyShared)]
  await fill(primary, 'pii/', 700)
  await fill(primary, 'secret/', 50)
  const replication = start({ primary, secondary, kind: 'performance' })
  await replication.settled()
  replication.filter(['pii/'])
  await replication.settled()
  expect(await keys(secondary, 'pii/')).toEqual([])
  await primary.put('pii/more', bytes('hidden'))
  await replication.settled()
  expect(await keys(secondary)).toHaveLength(50)
  replication.filter([])
  await replication.settled()
  expect(await keys(secondary, 'pii/')).toHaveLength(701)
})

test('past the cap of the log a secondary catches up by diff', async () => {
  const primary = await open(memoryEngine(), { logBytes: 20_000, trimDelayMs: 10 })
  const secondary = await open(memoryEngine(), { writable: () => false })
  await fill(primary, 'secret/', 100)
  const replication = start({ primary, secondary, kind: 'dr' })
  await replication.settled()
  await replication.close()
  for (let n = 0; n < 500; n++) await primary.put(`secret/${n}`, bytes('changed'.repeat(20)))
  await primary.log.trim()
  const again = start({ primary, secondary, kind: 'dr' })
  await again.settled()
  expect(again.follower.status().diffReason).toMatch('no longer reaches back')
})

test('the log is kept for a secondary that is away', async () => {
  const primary = await open(memoryEngine(), { trimDelayMs: 5 })
  const secondary = await open(memoryEngine(), { writable: () => false })
  const replication = start({ primary, secondary, kind: 'dr' })
  await primary.put('secret/a', bytes('1'))
  await replication.settled()
  await replication.close()
  await fill(primary, 'secret/', 2000)
  await primary.log.trim()
  expect(primary.log.oldest()).toBeLessThanOrEqual(2)
  const again = start({ primary, secondary, kind: 'dr' })
  await again.settled()
  expect(again.follower.status().rounds).toBe(0)
  const oldest = () => primary.log.trim().then(() => primary.log.oldest())
  await expect.poll(oldest).toBe(primary.log.head().index + 1)
})

test('what the secondary must not hold ends the link before it is stored', async () => {
  const [primary, secondary] = [await open(memoryEngine()), await open(memoryEngine(), readOnlyShared)]
  await primary.put('secret/a', bytes('1'))
  const accept = ({ mountPath }: { mountPath: string }) => (mountPath === 'pii/' ? 'withheld here' : (true as const))
  const replication = start({ primary, secondary, kind: 'performance', accept })
  await replication.settled()
  await primary.put('pii/a', bytes('leak'))
  await expect.poll(() => replication.follower.status().lastError).toMatch('withheld here')
  expect(await keys(secondary)).toEqual(['secret/a'])
})

test('a primary of an earlier epoch is fenced, and rejoins the promoted one by diff', async () => {
  const [old, promoted] = [await open(memoryEngine()), await open(memoryEngine())]
  const secondary = await open(memoryEngine(), { writable: () => false })
  await old.put('secret/a', bytes('1'))
  const toPromoted = start({ primary: old, secondary: promoted, kind: 'dr' })
  await toPromoted.settled()
  await toPromoted.close()
  await promoted.log.startEpoch(promoted.log.head().epoch + 1)
  await promoted.put('secret/a', bytes('2'))
  const replication = start({ primary: promoted, secondary, kind: 'dr' })
  await replication.settled()
  replication.follow(old)
  await expect.poll(() => replication.follower.status().lastError).toMatch('fenced')
  expect(text(await secondary.get('secret/a'))).toBe('2')
  replication.follow(promoted)
  await replication.settled()

  await old.put('secret/lost', bytes('3'))
  const rejoin = start({ primary: promoted, secondary: old, kind: 'dr' })
  await rejoin.settled()
  expect(await old.get('secret/lost')).toBeUndefined()
})

test('of two primaries that began the same epoch the one followed first is held on to', async () => {
  const [one, other] = [await open(memoryEngine()), await open(memoryEngine())]
  const secondary = await open(memoryEngine(), { writable: () => false })
  for (const [primary, name] of [[one, 'one'] as const, [other, 'other'] as const]) {
    await primary.log.startEpoch(2)
    await primary.put('secret/a', bytes(name))
  }
  const replication = start({ primary: one, leader: 'one', secondary, kind: 'dr' })
  await replication.settled()
  replication.follow(other, 'other')
  await expect.poll(() => replication.follower.status().lastError).toMatch('two were promoted from one epoch')
  expect(text(await secondary.get('secret/a'))).toBe('one')
  // One of a version that does not say who it is is taken at its word, and does not make the other forgotten.
  replication.follow(one)
  await replication.settled()
  expect(replication.follower.status().position).toMatchObject({ epoch: 2, leader: 'one' })
  await other.log.startEpoch(3)
  replication.follow(other, 'other')
  await replication.settled()
  expect(text(await secondary.get('secret/a'))).toBe('other')
})

test('a node that has lost the lead without knowing it leads nobody back to its own place', async () => {
  const disk = memoryEngine()
  const deposed = await open(disk)
  await deposed.put('secret/a', bytes('1'))
  const next = await open(disk)
  await next.put('secret/a', bytes('2'))
  const secondary = await open(memoryEngine(), { writable: () => false })
  const replication = start({ primary: next, secondary, kind: 'dr' })
  await replication.settled()
  replication.follow(deposed)
  await expect.poll(() => replication.links()).toBeGreaterThan(3)
  expect(await replication.sender().ended).toMatch('another node has written to this log')
  expect(replication.follower.status().position.cursor?.index).toBe(2)
  expect(text(await secondary.get('secret/a'))).toBe('2')
  replication.follow(next)
  await replication.settled()
})

test('a disk that fails under the secondary costs the link and nothing else', async () => {
  const disk = faultyEngine()
  const [primary, secondary] = [await open(memoryEngine()), await open(disk.engine, { writable: () => false })]
  await fill(primary, 'secret/', 100)
  const replication = start({ primary, secondary, kind: 'dr' })
  await replication.settled()
  disk.failNext(false)
  await primary.put('secret/a', bytes('1'))
  await replication.settled()
  expect(replication.links()).toBeGreaterThan(1)
  expect(text(await secondary.get('secret/a'))).toBe('1')
  await checkDisk(disk.disk)
})

test('requests travel both ways and fail in ways a caller can tell apart', async () => {
  const [primary, secondary] = [await open(memoryEngine()), await open(memoryEngine(), { writable: () => false })]
  const onRequest = async (method: string, body: unknown) => {
    if (method === 'never') return new Promise<never>(() => {})
    if (method === 'refuse') throw Object.assign(new Error('no such mount'), { code: 'CORE_NOT_FOUND' })
    return { method, body: body as string }
  }
  const replication = start({ primary, secondary, kind: 'dr', onRequest })
  await replication.settled()
  expect(await replication.follower.request('forward', 'write')).toEqual({ method: 'forward', body: 'write' })
  expect(await replication.sender().request('ask', 'back')).toEqual({ method: 'ask', body: 'back' })
  await expect(replication.follower.request('refuse', null)).rejects.toMatchObject({
    code: 'REPLICATION_REMOTE',
    remoteCode: 'CORE_NOT_FOUND',
    message: 'no such mount',
  })
  await expect(replication.follower.request('never', null, { timeoutMs: 20 })).rejects.toMatchObject({
    code: 'REPLICATION_TIMEOUT',
  })
  const interrupted = replication.follower.request('never', null)
  replication.cut()
  await expect(interrupted).rejects.toMatchObject({ code: 'REPLICATION_DISCONNECTED' })
  await replication.close()
  await expect(replication.follower.request('forward', null)).rejects.toBeInstanceOf(LinkError)
})

test('waiting for an index ends when it is applied, or in time', async () => {
  const [primary, secondary] = [await open(memoryEngine()), await open(memoryEngine(), { writable: () => false })]
  const replication = start({ primary, secondary, kind: 'dr' })
  await replication.settled()
  const { index } = primary.log.head()
  const next = replication.follower.applied(index + 1, 5000)
  await primary.put('secret/a', bytes('1'))
  expect(await next).toBe(true)
  expect(text(await secondary.get('secret/a'))).toBe('1')
  expect(await replication.follower.applied(index + 2, 20)).toBe(false)
  const forever = replication.follower.applied(index + 2, 60_000)
  await replication.close()
  expect(await forever).toBe(false)
  expect(replication.follower.status()).toMatchObject({ connectionState: 'shutdown', state: 'idle' })
})

test('a DR secondary of a performance secondary holds what that one holds, local data and purges included', async () => {
  const primary = await open(memoryEngine())
  const middle = await open(memoryEngine(), readOnlyShared)
  const last = await open(memoryEngine(), { writable: () => false })
  await fill(primary, 'secret/', 60)
  await fill(primary, 'pii/', 60)
  const upper = start({ primary, secondary: middle, kind: 'performance' })
  const lower = start({ primary: middle, secondary: last, kind: 'dr' })
  await upper.settled()
  await middle.put('local/token/1', bytes('of the middle'))
  await lower.settled()
  expect(await keys(last)).toHaveLength(121)
  upper.filter(['pii/'])
  await primary.put('secret/1', bytes('changed'))
  await upper.settled()
  await lower.settled()
  expect(await keys(last)).toEqual(await keys(middle))
  expect(await keys(last)).toHaveLength(61)
  expect(lower.follower.status()).toMatchObject({ rounds: 1, guardFailures: 0 })
})
