// What secondaries hold, proved against what they should hold.

import type { Plain } from '@lockstep/replication'
import { filteredView, LinkError, type LoggedStore, loggedStore } from '@lockstep/replication-driver'
import { memoryEngine, memoryStore, type Store } from '@lockstep/storage'
import { afterEach, describe, expect, test } from 'vitest'
import { inspectSecondary } from '../../src/replication/inspect/inspect.ts'
import { answerInspect, HELD_PAGE, parseHeldPage } from '../../src/replication/inspect/inspect-held.ts'
import { activationToken, generate, inSync, link, type Node, startNode, waitFor } from '../cluster.ts'

interface Row {
  path: string
  uuid: string
  class: string
  withheld: boolean
  expected: { keys: number; digest: string }
  held: { keys: number; digest: string } | null
  equal: boolean | null
}

const PERFORMANCE = 'sys/replication/performance/primary'
const SELF = 'sys/replication/performance/secondary/inspect'
const NONE = { keys: 0, digest: '00'.repeat(32) }
const rowsOf = (data: unknown): Row[] => (data as { mounts: Row[] }).mounts
const row = (data: unknown, path: string): Row => rowsOf(data).find((found) => found.path === path)!

describe('over real links', () => {
  const nodes: Node[] = []
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node.close()))
  })

  async function started(store: Store = memoryStore()): Promise<Node> {
    const node = await startNode({ store })
    nodes.push(node)
    await node.init()
    return node
  }

  async function primaryWithMounts(): Promise<Node> {
    const primary = await started()
    await primary.change(`${PERFORMANCE}/enable`)
    for (const mount of ['open', 'eu_gdpr']) {
      await primary.ask('update', `sys/mounts/${mount}`, { type: 'kv' })
      for (let n = 0; n < 5; n++) await primary.ask('update', `${mount}/k${n}`, { n })
    }
    return primary
  }

  const proven = (primary: Node, path: string): Promise<Record<string, unknown>> =>
    waitFor(`proof by ${path}`, async () => {
      const { data } = await primary.ask('read', path)
      return data?.proven === true && data.view_in_force === true && data
    })

  test('every mount and the core are equal, and a withheld mount is shown to be absent', async () => {
    const primary = await primaryWithMounts()
    const secondary = await started()
    await link(primary, secondary, 'performance', 'eu')
    await inSync(primary, secondary, 'performance')

    const before = await proven(primary, `${PERFORMANCE}/inspect/eu`)
    expect(before).toMatchObject({ id: 'eu', connected: true, settled: true, unexpected: [], error: '', next: '' })
    expect(before.cursor).toEqual({ epoch: expect.any(Number), index: (await primary.core.health()).body.last_wal })
    // Five keys and the record of the mount.
    expect(row(before, 'eu_gdpr/')).toMatchObject({ withheld: false, equal: true, held: { keys: 6 } })
    expect(rowsOf(before).find(({ uuid }) => uuid === 'core')).toMatchObject({ path: '', class: 'replicated' })

    await primary.ask('update', `${PERFORMANCE}/paths-filter/eu`, { mode: 'deny', paths: 'eu_gdpr/' })
    const after = await proven(primary, `${PERFORMANCE}/inspect/eu`)
    expect(row(after, 'eu_gdpr/')).toMatchObject({ withheld: true, equal: true, expected: NONE, held: NONE })
    expect(row(after, 'open/')).toMatchObject({ withheld: false, equal: true, held: { keys: 6 } })

    // The secondary's own view has the same digests, and no trace of what is withheld. It needs sudo.
    expect(await secondary.ask('read', SELF, {}, { token: 'hvs.unknown' })).toMatchObject({
      code: 'CORE_PERMISSION_DENIED',
    })
    const token = await generate(secondary, 'root')
    const self = (await secondary.ask('read', SELF, {}, { token })).data!
    expect(JSON.stringify(self)).not.toContain('eu_gdpr')
    expect(JSON.stringify(self)).not.toContain(row(after, 'eu_gdpr/').uuid)
    expect(row(self, 'open/')).toMatchObject(row(after, 'open/').held!)
    expect(self.cursor).toEqual(after.cursor)
  })

  test('rows come in pages', async () => {
    const primary = await primaryWithMounts()
    const secondary = await started()
    await link(primary, secondary, 'performance', 'eu')
    await inSync(primary, secondary, 'performance')
    const all = rowsOf(await proven(primary, `${PERFORMANCE}/inspect/eu`))
    const found: Row[] = []
    let after = ''
    do {
      const { data } = await primary.ask('read', `${PERFORMANCE}/inspect/eu`, { after, limit: 2 })
      expect(rowsOf(data).length).toBeLessThanOrEqual(2)
      expect(data!.total).toBe(all.length)
      found.push(...rowsOf(data))
      after = String(data!.next)
    } while (after !== '')
    expect(found.map(({ uuid }) => uuid)).toEqual(all.map(({ uuid }) => uuid))
  })

  test('an unknown id, another role and a secondary that is away are told apart', async () => {
    const primary = await primaryWithMounts()
    expect(await primary.ask('read', `${PERFORMANCE}/inspect/nobody`)).toMatchObject({ code: 'CORE_INVALID_REQUEST' })
    expect(await primary.ask('read', SELF)).toMatchObject({ code: 'CORE_INVALID_REQUEST' })
    await activationToken(primary, 'performance', 'late')
    const { data } = await primary.ask('read', `${PERFORMANCE}/inspect/late`)
    expect(data).toMatchObject({ connected: false, proven: false, settled: false, cursor: null, view_in_force: null })
    expect(data!.error).toContain('not connected')
    expect(row(data, 'open/')).toMatchObject({ held: null, equal: null, expected: { keys: 6 } })
  })

  test('a dry run tells what a filter would purge or add, and changes nothing', async () => {
    const primary = await primaryWithMounts()
    const secondary = await started()
    await link(primary, secondary, 'performance', 'eu')
    await inSync(primary, secondary, 'performance')
    const path = `${PERFORMANCE}/paths-filter/eu`
    const input = { mode: 'deny', paths: 'eu_gdpr/,later/' }
    expect((await primary.ask('update', path, { ...input, dry_run: true })).data).toMatchObject({
      ...{ id: 'eu', dry_run: true, add: [], add_keys: 0, purge_keys: 6, unmounted: ['later/'] },
      purge: [{ path: 'eu_gdpr/', uuid: expect.any(String), keys: 6 }],
    })
    expect(await primary.ask('read', path)).toMatchObject({ code: 'CORE_NOT_FOUND' })
    expect(row(await proven(primary, `${PERFORMANCE}/inspect/eu`), 'eu_gdpr/').held!.keys).toBe(6)

    await primary.ask('update', path, input)
    expect((await primary.ask('update', path, { mode: 'deny', paths: 'open/', dry_run: true })).data).toMatchObject({
      purge: [{ path: 'open/' }],
      add: [{ path: 'eu_gdpr/' }],
    })
    expect((await primary.ask('delete', path, { dry_run: true })).data).toMatchObject({ purge: [], add_keys: 6 })
    expect((await primary.ask('read', path)).data).toMatchObject({ mode: 'deny' })
    expect(await primary.ask('update', path, { mode: 'perhaps', paths: 'x/', dry_run: true })).toMatchObject({
      code: 'CORE_INVALID_REQUEST',
    })
  })

  test('a filter switched on later purges the secondary and its DR secondary, byte by byte', async () => {
    const primary = await primaryWithMounts()
    const secondary = await started()
    await link(primary, secondary, 'performance', 'eu')
    await inSync(primary, secondary, 'performance')
    const token = await generate(secondary, 'root')
    secondary.token = token
    await secondary.change('sys/replication/dr/primary/enable')
    const drStore = memoryStore()
    const dr = await started(drStore)
    await link(secondary, dr, 'dr', 'eu-dr')
    await inSync(secondary, dr, 'dr')

    const before = await proven(primary, `${PERFORMANCE}/inspect/eu`)
    const { uuid } = row(before, 'eu_gdpr/')
    const held = await proven(secondary, 'sys/replication/dr/primary/inspect/eu-dr')
    expect(row(held, 'eu_gdpr/')).toMatchObject({ uuid, equal: true, held: { keys: 6 } })
    // The DR link carries what is local to this cluster as well.
    expect(new Set(rowsOf(held).map(({ class: storageClass }) => storageClass))).toEqual(
      new Set(['replicated', 'local']),
    )
    const secrets = await ciphertexts(drStore, uuid)
    expect(secrets.length).toBeGreaterThanOrEqual(6)

    await primary.ask('update', `${PERFORMANCE}/paths-filter/eu`, { mode: 'deny', paths: 'eu_gdpr/' })
    const after = await proven(primary, `${PERFORMANCE}/inspect/eu`)
    expect(row(after, 'eu_gdpr/').held).toEqual(NONE)
    await waitFor('the purge downstream', async () => {
      const { data } = await secondary.ask('read', 'sys/replication/dr/primary/inspect/eu-dr')
      return data?.proven === true && row(data, 'eu_gdpr/') === undefined && data
    })
    await inSync(secondary, dr, 'dr')
    for (const found of ['eu_gdpr', uuid, ...secrets])
      expect(await storesHolding(drStore, found), String(found)).toEqual([])
  })

  test('on a DR secondary the operation token opens it', async () => {
    const primary = await started()
    await primary.change('sys/replication/dr/primary/enable')
    const dr = await started()
    await link(primary, dr, 'dr', 'dr')
    await inSync(primary, dr, 'dr')
    await proven(primary, 'sys/replication/dr/primary/inspect/dr')
    const path = 'sys/replication/dr/secondary/inspect'
    expect(await dr.ask('update', path, {})).toMatchObject({ code: 'CORE_INVALID_REQUEST' })
    const token = await generate(dr, 'dr-operation')
    const { data } = await dr.ask('update', path, { dr_operation_token: token })
    expect(rowsOf(data).some(({ uuid, class: storageClass }) => uuid === 'core' && storageClass === 'local')).toBe(true)
  })
})

/** What is stored under keys with the uuid in them. */
async function ciphertexts(store: Store, uuid: string): Promise<Buffer[]> {
  const found: Buffer[] = []
  for await (const [key, value] of store.scan({})) {
    // Short rows (index entries hold the key itself) are no ciphertext.
    if (key.includes(uuid) && key.includes('/d/') && value.length > 16) found.push(Buffer.from(value))
  }
  return found
}

/** Keys of the rows that hold the bytes in their key or value. */
async function storesHolding(store: Store, wanted: string | Buffer): Promise<string[]> {
  const keys: string[] = []
  for await (const [key, value] of store.scan({})) {
    if (Buffer.from(key).includes(wanted) || Buffer.from(value).includes(wanted)) keys.push(key)
  }
  return keys
}

describe('two stores', () => {
  const classify = (key: string) => {
    const [mount] = key.split('/')
    return { class: 'replicated' as const, mount: mount!, mountPath: `${mount}/` }
  }
  const pathOf = (mount: string) => (mount === 'gone' ? undefined : `${mount}/`)
  const opened = () => loggedStore(memoryEngine(), { classify })

  /** A secondary that says what `there` holds, at the place `cursor` of the primary's log. */
  function answering(there: LoggedStore, cursor: () => { epoch: number; index: number; digest: Uint8Array } | null) {
    const view = filteredView({
      kind: 'performance',
      mountPathOf: pathOf,
      filter: { mode: 'deny', paths: ['secret/'] },
    })
    const position = () => ({ cursor: cursor(), view: view.id })
    const asked: Plain[] = []
    const request = async (_method: string, body: Plain): Promise<Plain> => {
      asked.push(body)
      return answerInspect(body, 'performance', there.forest, position)
    }
    return { asked, secondary: { id: 'eu', kind: 'performance' as const, view, request } }
  }
  const noPause = async (): Promise<void> => {}

  test('what a secondary holds and should not is named', async () => {
    const [here, there] = [await opened(), await opened()]
    for (const key of ['open/a', 'secret/a']) await here.put(key, Buffer.from(key))
    for (const key of ['open/a', 'secret/a', 'gone/a']) await there.put(key, Buffer.from(key))
    const { secondary } = answering(there, () => here.log.head())
    const report = await inspectSecondary(here, secondary, noPause)
    expect(report).toMatchObject({ settled: true, proven: false, view_in_force: true })
    expect(report.unexpected).toMatchObject([
      { path: 'secret/', uuid: 'secret', class: 'replicated', keys: 1 },
      { path: '', uuid: 'gone', keys: 1 },
    ])
    expect(row(report, 'open/').equal).toBe(true)
  })

  test('a difference at the same place is a difference, also of equal counts', async () => {
    const [here, there] = [await opened(), await opened()]
    await here.put('open/a', Buffer.from('1'))
    await there.put('open/a', Buffer.from('2'))
    const { secondary } = answering(there, () => here.log.head())
    const report = await inspectSecondary(here, secondary, noPause)
    expect(report).toMatchObject({ settled: true, proven: false, unexpected: [] })
    expect(row(report, 'open/')).toMatchObject({ equal: false, expected: { keys: 1 }, held: { keys: 1 } })
  })

  test('what only lags is settling, not different, and what stands still is equal meanwhile', async () => {
    const [here, there] = [await opened(), await opened()]
    for (const store of [here, there]) await store.put('still/a', Buffer.from('1'))
    const stale = here.log.head()
    await here.put('hot/a', Buffer.from('1'))
    const { secondary, asked } = answering(there, () => stale)
    const report = await inspectSecondary(here, secondary, noPause)
    expect(report).toMatchObject({ settled: false, proven: false, unexpected: [] })
    expect(row(report, 'still/')).toMatchObject({ equal: true, settling: false })
    expect(row(report, 'hot/')).toMatchObject({ equal: null, settling: true })
    expect(asked.length).toBeGreaterThan(1)
  })

  test('under steady writes the two are compared at the place where the secondary stood', async () => {
    const [here, there] = [await opened(), await opened()]
    let at = here.log.head()
    let n = 0
    /** The secondary is always one write behind. */
    const write = async (): Promise<void> => {
      const value = Buffer.from(String(n++))
      if (n > 1) await there.put('hot/a', Buffer.from(String(n - 2)))
      at = here.log.head()
      await here.put('hot/a', value)
    }
    await write()
    const { secondary } = answering(there, () => at)
    const request: typeof secondary.request = async (method, body) => {
      await write()
      await write()
      return secondary.request(method, body)
    }
    const report = await inspectSecondary(here, { ...secondary, request }, noPause)
    expect(report).toMatchObject({ settled: true, proven: true, cursor: { index: at.index } })
    expect(at.index).toBe(here.log.head().index - 1)
  })

  test('a secondary that does not know the question is connected, and nothing is proven', async () => {
    const here = await opened()
    await here.put('open/a', Buffer.from('1'))
    const { secondary } = answering(here, () => here.log.head())
    const request = () => Promise.reject(new LinkError('REPLICATION_REMOTE', 'unknown request inspect', 'failed'))
    const report = await inspectSecondary(here, { ...secondary, request }, noPause)
    expect(report).toMatchObject({ connected: true, proven: false, settled: false, error: 'unknown request inspect' })
    expect(row(report, 'open/')).toMatchObject({ held: null, equal: null })
  })

  test('more partitions than fit one answer come in pages, and a sync under way is no proof', async () => {
    const [here, there] = [await opened(), await opened()]
    for (const store of [here, there]) {
      const transaction = await store.begin()
      for (let n = 0; n < HELD_PAGE + 5; n++) await transaction.put(`m${n}/a`, Buffer.from('1'))
      await transaction.commit()
    }
    const { secondary, asked } = answering(there, () => here.log.head())
    expect(await inspectSecondary(here, secondary, noPause)).toMatchObject({ proven: true })
    expect(asked).toEqual([{ after: '' }, { after: expect.stringContaining('replicated/m') }])
    const syncing = answering(there, () => null)
    expect(await inspectSecondary(here, syncing.secondary, noPause)).toMatchObject({ settled: false, proven: false })
  })

  test.each([
    ['no object', 7],
    ['no cursor', { view: '', partitions: [], more: false }],
    ['a negative index', { cursor: { epoch: 1, index: -1 }, view: '', partitions: [], more: false }],
    ['an endless empty answer', { cursor: null, view: '', partitions: [], more: true }],
    [
      'ids that do not ascend',
      { cursor: null, view: '', partitions: [['replicated/a', 1, new Uint8Array(32)]], more: true },
    ],
    ['a foreign class', { cursor: null, view: '', partitions: [['ignored/z', 1, new Uint8Array(32)]], more: false }],
    ['a short digest', { cursor: null, view: '', partitions: [['replicated/z', 1, new Uint8Array(31)]], more: false }],
    [
      'a broken count',
      { cursor: null, view: '', partitions: [['replicated/z', 0.5, new Uint8Array(32)]], more: false },
    ],
  ])('an answer with %s is refused', (_what, body) => {
    expect(() => parseHeldPage(body as Plain, 'replicated/b')).toThrow(/inspect: .*expected/)
  })
})
