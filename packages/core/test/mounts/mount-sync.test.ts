import type { Store } from '@lockstep/storage'
import { memoryStore } from '@lockstep/storage'
import { describe, expect, test } from 'vitest'
import type { MountEntry } from '../../src/contracts.ts'
import { encodeRecord, recordKey } from '../../src/mounts/mount-record.ts'
import { ask, type Bench, bench, keysUnder } from './table.ts'

/** Copies what a performance secondary holds from `primary` to `secondary`, one key at a time, as replication does. */
async function replicate(primary: Bench, secondary: Bench, only: (key: string) => boolean = () => true): Promise<void> {
  const replicatedKeys = async ({ store, rules }: Bench) => {
    const keys = new Map<string, Uint8Array>()
    for await (const [key, value] of store.scan()) {
      if (rules.classify(key).class === 'replicated') keys.set(key, value)
    }
    return keys
  }
  const wanted = new Map([...(await replicatedKeys(primary))].filter(([key]) => only(key)))
  const held = (await replicatedKeys(secondary)).keys()
  const changed: string[] = []
  for (const [key, value] of wanted) {
    const own = await secondary.store.get(key)
    if (own === undefined || Buffer.compare(own, value) !== 0) {
      await secondary.store.put(key, value)
      changed.push(key)
    }
  }
  for (const key of held) {
    if (wanted.has(key)) continue
    await secondary.store.delete(key)
    changed.push(key)
  }
  for (const key of changed) await secondary.mounts.invalidate(key)
}

async function pair(options: { revoked?: string[]; store?: Store } = {}) {
  const primary = bench()
  await primary.mounts.load()
  const secondary = bench({
    store: options.store ?? memoryStore(),
    refuse: (key) => key.startsWith('core/mounts/') || key.startsWith('core/auth/'),
    table: {
      isPerformanceSecondary: () => true,
      revokeLeases: async (prefix) => void options.revoked?.push(prefix),
    },
  })
  await secondary.mounts.load()
  return { primary, secondary }
}

describe('a performance secondary', () => {
  test('serves sys/ before the primary’s record arrives, then under that record', async () => {
    const { primary, secondary } = await pair()
    expect(secondary.mounts.route('sys/mounts')?.builtin).toBe(true)
    await replicate(primary, secondary)
    const uuid = (bench: Bench, path: string) => bench.mounts.route(path)?.entry.uuid
    expect(uuid(secondary, 'sys/')).toBe(uuid(primary, 'sys/'))
    expect(uuid(secondary, 'auth/token/')).toBe(uuid(primary, 'auth/token/'))
    expect(uuid(secondary, 'cubbyhole/')).not.toBe(uuid(primary, 'cubbyhole/'))
    expect(secondary.mounts.entries('secret').length).toBe(2)
  })

  test('follows enable, tune, remount and disable', async () => {
    const revoked: string[] = []
    const { primary, secondary } = await pair({ revoked })
    const entry = await primary.mounts.enable('secret', 'kv1', { type: 'kv' })
    await ask(primary.mounts, 'kv1/x', 'v')
    await replicate(primary, secondary)
    expect(await ask(secondary.mounts, 'kv1/x')).toBe('v')

    await primary.mounts.tune('secret', 'kv1', { description: 'tuned', options: { version: '2' } })
    await replicate(primary, secondary)
    expect(secondary.mounts.route('kv1/')?.entry.description).toBe('tuned')
    expect(secondary.events).toContain(`close ${entry.uuid}`)

    await primary.mounts.remount('kv1', 'kv2')
    await replicate(primary, secondary)
    expect(secondary.mounts.route('kv1/x')).toBeUndefined()
    expect(await ask(secondary.mounts, 'kv2/x')).toBe('v')
    expect(secondary.rules.mountPath(entry.uuid)).toBe('kv2/')

    await secondary.store.put(`logical/${entry.uuid}/local/own`, Buffer.from('mine'))
    await primary.mounts.disable('secret', 'kv2')
    await replicate(primary, secondary)
    expect(secondary.mounts.route('kv2/x')).toBeUndefined()
    expect(revoked).toContain('kv2/')
    expect(await keysUnder(secondary.store, 'logical/')).toEqual([])
    expect(secondary.rules.mountPath(entry.uuid)).toBeUndefined()
  })

  test('starts to revoke its leases when the primary taints the mount', async () => {
    const revoked: string[] = []
    const { primary, secondary } = await pair({ revoked })
    const entry = await primary.mounts.enable('secret', 'kv1', { type: 'kv' })
    await replicate(primary, secondary)
    const tainted: MountEntry = { ...entry, tainted: true }
    await secondary.store.put(recordKey(entry), encodeRecord(tainted))
    await secondary.mounts.invalidate(recordKey(entry))
    expect(secondary.mounts.route('kv1/x')?.entry.tainted).toBe(true)
    expect(revoked).toEqual(['kv1/'])
  })

  test('a withheld mount is as good as absent', async () => {
    const { primary, secondary } = await pair()
    const { uuid } = await primary.mounts.enable('secret', 'eu', { type: 'kv' })
    await replicate(primary, secondary, (key) => !key.includes(uuid))
    expect(secondary.mounts.route('eu/x')).toBeUndefined()
  })

  test('two mounts that swap their paths end up where the primary has them, whatever comes first', async () => {
    const { primary, secondary } = await pair()
    await primary.mounts.enable('secret', 'a', { type: 'kv' })
    await primary.mounts.enable('secret', 'b', { type: 'kv' })
    await ask(primary.mounts, 'a/x', 'from a')
    await ask(primary.mounts, 'b/x', 'from b')
    await replicate(primary, secondary)
    await primary.mounts.remount('a', 'tmp')
    await primary.mounts.remount('b', 'a')
    await primary.mounts.remount('tmp', 'b')
    await replicate(primary, secondary)
    expect(await ask(secondary.mounts, 'a/x')).toBe('from b')
    expect(await ask(secondary.mounts, 'b/x')).toBe('from a')
    expect(secondary.mounts.entries('secret').map(({ path }) => path)).toEqual(['a/', 'b/', 'cubbyhole/', 'sys/'])
  })

  test('a local mount keeps its path; the shared one appears when the local one is gone', async () => {
    const { primary, secondary } = await pair()
    await secondary.mounts.enable('secret', 'kv1', { type: 'kv', local: true })
    await ask(secondary.mounts, 'kv1/x', 'local')
    await primary.mounts.enable('secret', 'kv1', { type: 'kv' })
    await ask(primary.mounts, 'kv1/x', 'shared')
    await replicate(primary, secondary)
    expect(await ask(secondary.mounts, 'kv1/x')).toBe('local')
    await secondary.mounts.disable('secret', 'kv1')
    expect(await ask(secondary.mounts, 'kv1/x')).toBe('shared')
  })

  test('changes of shared mounts are the primary’s, of local mounts its own', async () => {
    const { primary, secondary } = await pair()
    await primary.mounts.enable('secret', 'kv1', { type: 'kv' })
    await replicate(primary, secondary)
    const readOnly = { code: 'BACKEND_READ_ONLY' }
    await expect(secondary.mounts.enable('secret', 'kv2', { type: 'kv' })).rejects.toMatchObject(readOnly)
    await expect(secondary.mounts.disable('secret', 'kv1')).rejects.toMatchObject(readOnly)
    await expect(secondary.mounts.tune('secret', 'kv1', { description: 'x' })).rejects.toMatchObject(readOnly)
    await expect(secondary.mounts.remount('kv1', 'kv2')).rejects.toMatchObject(readOnly)
    expect(() => secondary.mounts.checkRemount('kv1', 'kv2')).toThrow('cannot write to readonly storage')
    await secondary.mounts.enable('secret', 'own', { type: 'kv', local: true })
    await secondary.mounts.remount('own', 'mine')
    await secondary.mounts.disable('secret', 'mine')
  })

  test('a changed key reaches the backend of its mount, relative', async () => {
    const { primary, secondary } = await pair()
    const { uuid } = await primary.mounts.enable('secret', 'kv1', { type: 'kv' })
    await replicate(primary, secondary)
    secondary.events.length = 0
    await secondary.mounts.invalidate(`logical/${uuid}/deep/key`)
    await secondary.mounts.invalidate('logical/unknown/deep/key')
    await secondary.mounts.invalidate('sys/policy/x')
    expect(secondary.events).toEqual([`invalidate ${uuid} deep/key`])
  })
})

test('a shared write refused deep in storage reaches the backend as BACKEND_READ_ONLY', async () => {
  const store = memoryStore()
  const primary = bench({ store })
  await primary.mounts.load()
  await primary.mounts.enable('secret', 'kv1', { type: 'kv' })
  const secondary = bench({ store, refuse: (key) => key.startsWith('logical/') })
  await secondary.mounts.load()
  const { storage } = secondary.mounts.route('kv1/')!
  const value = Buffer.from('v')
  await expect(storage.put('x', value)).rejects.toMatchObject({ code: 'BACKEND_READ_ONLY' })
  await expect(storage.delete('x')).rejects.toMatchObject({ code: 'BACKEND_READ_ONLY' })
  const body = storage.transaction((transaction) => transaction.put('x', value))
  await expect(body).rejects.toMatchObject({ code: 'BACKEND_READ_ONLY' })
})
