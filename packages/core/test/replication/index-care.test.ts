import type { ShippedClass } from '@lockstep/replication'
import { type LoggedStore, loggedStore } from '@lockstep/replication-driver'
import { type Engine, memoryEngine } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import { type IndexCare, indexCare } from '../../src/replication/maintenance/reindex.ts'
import { waitFor } from '../cluster.ts'

const DATA = 'd/'
const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function careOf(scrubIntervalMs: number, upstreamClasses?: ShippedClass[]) {
  const memory = memoryEngine()
  let gate: Promise<void> = Promise.resolve()
  /** Whole scans of the data wait while it is shut. */
  const engine: Engine = {
    get: (key) => memory.get(key),
    getMany: (keys) => memory.getMany(keys),
    write: (operations) => memory.write(operations),
    close: () => memory.close(),
    async *scan(range) {
      if (range.prefix === DATA) await gate
      yield* memory.scan(range)
    },
  }
  const shut = (): (() => void) => {
    let open = (): void => {}
    gate = new Promise((resolve) => {
      open = resolve
    })
    return open
  }
  const store: LoggedStore = await loggedStore(engine, {
    classify(key) {
      const mount = key.split('/')[0]!
      if (mount === 'ignored' || mount === 'core') return { class: 'ignored' }
      return { class: mount === 'mine' ? 'local' : 'replicated', mount, mountPath: `${mount}/` }
    },
  })
  const compared: string[] = []
  const errors: string[] = []
  const quiet = (): void => {}
  const care: IndexCare = await indexCare(
    {
      ...{ store, storage: store, clock: { now: Date.now } },
      log: { debug: quiet, info: quiet, warn: quiet, error: (message) => void errors.push(message) },
      upstream: () => upstreamClasses && { classes: upstreamClasses, compare: (reason) => void compared.push(reason) },
      repaired: () => void compared.push('rebuilt'),
    },
    { scrubIntervalMs },
  )
  closing.push(
    () => store.close(),
    () => care.stop(),
  )
  /** As a disk does. */
  const damage = (key: string): Promise<void> =>
    engine.write([{ type: 'put', key: DATA + key, value: Buffer.from('damaged') }])
  return { care, store, damage, compared, errors, shut }
}

test('a scrub tells of damage to what this cluster wrote itself, and makes nothing follow it', async () => {
  const { care, store, damage, compared, errors } = await careOf(10)
  await store.put('shared/a', Buffer.from('a'))
  await store.put('mine/a', Buffer.from('a'))
  await waitFor('a first scrub', async () => care.status('dr').last_scrub !== undefined)
  expect(care.status('dr')).toMatchObject({ corrupted_merkle_tree: false, last_scrub: { differences: 0, repaired: 0 } })
  await damage('mine/a')
  await waitFor('the damage to be found', async () => care.status('dr').corrupted_merkle_tree === true)
  expect(care.status('dr')).toMatchObject({
    last_corruption_check_epoch: expect.stringMatching(/^\d{10}$/),
    last_scrub: { finished: expect.stringMatching(/Z$/), keys: expect.any(Number), differences: 1, repaired: 0 },
  })
  expect(care.status('performance').corrupted_merkle_tree).toBe(false)
  expect(compared).toEqual([])
  expect(errors).toContain('the scrub found the Merkle index to differ from the data')
})

test('a scrub has what came from the primary fetched again', async () => {
  const { care, store, damage, compared } = await careOf(10, ['replicated'])
  await store.put('shared/a', Buffer.from('a'))
  await damage('shared/a')
  await waitFor('the comparison', async () => compared.length > 0)
  expect(compared[0]).toBe('a scrub found 1 damaged entries')
  await waitFor('the report', async () => care.status('dr').last_scrub !== undefined)
  // The index shows the damage now, which the primary's does not: that is what the comparison finds.
  expect((await care.check()).corrupted_root).toBe(false)
})

test('without an interval nothing is scrubbed', async () => {
  const { care, damage, store } = await careOf(0)
  await store.put('shared/a', Buffer.from('a'))
  await damage('shared/a')
  expect(await care.check()).toMatchObject({ corrupted_root: true })
  expect(care.status('performance')).not.toHaveProperty('last_scrub')
})

test('reindex: the index follows the data, writes go on meanwhile, secondaries compare', async () => {
  const { care, store, damage, compared, shut } = await careOf(0)
  for (let n = 0; n < 50; n++) await store.put(`shared/${n}`, Buffer.from(String(n)))
  await damage('shared/7')
  const open = shut()
  await care.reindex({ diff: true, force: false })
  expect(care.progress()).toEqual({ stage: 2, progress: 0, total: 50 })
  for (let n = 0; n < 20; n++) await store.put(`shared/new-${n}`, Buffer.from('new'))
  expect(care.status('dr').reindex_in_progress).toBe(true)
  await expect(care.reindex({ diff: false, force: false })).rejects.toMatchObject({ code: 'CORE_INVALID_REQUEST' })
  open()
  await waitFor('the end', async () => care.status('dr').reindex_in_progress === undefined)
  expect(compared).toEqual(['rebuilt'])
  expect(care.progress()).toEqual({ stage: 0, progress: 0, total: 0 })
  expect(await care.check()).toMatchObject({ corrupted_root: false })
  expect(store.forest.count('replicated/shared')).toBe(70)
})

test('one that is stopped ends soon, and says nothing', async () => {
  const { care, store, errors, shut } = await careOf(0)
  for (let n = 0; n < 50; n++) await store.put(`shared/${n}`, Buffer.from(String(n)))
  const open = shut()
  await care.reindex({ diff: false, force: true })
  const stopped = care.stop()
  open()
  await stopped
  expect(care.status('dr').last_reindex_epoch).toBe('0')
  expect(errors).toEqual([])
  await expect(care.reindex({ diff: false, force: false })).rejects.toMatchObject({ code: 'CORE_UNAVAILABLE' })
})
