import { createKeyring, openKeyring } from '@lockstep/barrier'
import { memoryStore } from '@lockstep/storage'
import { expect, test } from 'vitest'
import { openClusterStore } from './cluster-store.ts'
import { sealKeys } from './seal-config.ts'
import { type UnsealedKeysOptions, unsealedKeys } from './unsealed-keys.ts'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }

async function bench(options: UnsealedKeysOptions = {}) {
  const keyring = createKeyring()
  const rootKey = keyring.rootKey()
  const store = await openClusterStore(memoryStore(), quiet, { readOnly: false })
  await store.logged.put(sealKeys.keyring, keyring.encrypt())
  const keys = unsealedKeys(() => store, undefined, options)
  keys.take({ keyring, operatorKey: { key: new Uint8Array(32).fill(7), shares: 3, threshold: 2 } })
  const stored = async () => openKeyring(rootKey, (await store.logged.get(sealKeys.keyring))!)
  return { keys, store, stored }
}

test('rotations at the same time give a term each, and the stored keyring opens what was sealed in between', async () => {
  const { keys, store, stored } = await bench()
  const writes: Promise<void>[] = []
  const rotations = Array.from({ length: 5 }, async (_, n) => {
    await keys.rotateKeyring()
    writes.push(keys.barrier.put(`sys/policy/${n}`, Buffer.from(String(n))))
  })
  await Promise.all([...rotations, keys.keepKeyring()])
  await Promise.all(writes)
  const ring = await stored()
  expect(ring.terms().map(({ term }) => term)).toEqual([1, 2, 3, 4, 5, 6])
  for (let n = 0; n < 5; n++) {
    const record = await store.logged.get(`sys/policy/${n}`)
    expect(Buffer.from(ring.open(`sys/policy/${n}`, record!)).toString()).toBe(String(n))
  }
})

test('saving the count of encryptions does not undo a rotation', async () => {
  const { keys, stored } = await bench()
  keys.keyring().countEncryptions(1, 2 ** 20)
  await Promise.all([keys.rotateKeyring(), keys.keepKeyring()])
  keys.keyring().countEncryptions(2, 2 ** 20)
  await Promise.all([keys.keepKeyring(), keys.rotateKeyring()])
  expect((await stored()).terms().map(({ term }) => term)).toEqual([1, 2, 3])
})

test('a keyring that another end has stored takes the place of this one', async () => {
  const { keys, store } = await bench()
  const other = keys.keyring().clone()
  other.rotate()
  await store.logged.put(sealKeys.keyring, other.encrypt())
  await keys.reloadKeyring()
  expect(keys.keyring().activeTerm).toBe(2)
})

test('a record under a term that is stored and not loaded yet is read all the same', async () => {
  const { keys, store } = await bench()
  const other = keys.keyring().clone()
  other.rotate()
  await store.logged.put(sealKeys.keyring, other.encrypt())
  const names = ['sys/policy/a', 'sys/policy/b']
  for (const name of names) await store.logged.put(name, other.seal(name, Buffer.from(name)))
  const { barrier } = keys
  const values = await Promise.all(names.map((name) => barrier.get(name)))
  expect(values.map((value) => Buffer.from(value!).toString())).toEqual(names)
  expect(keys.keyring().activeTerm).toBe(2)
})

test('a record that comes before its keyring is read when that has come', async () => {
  const { keys, store } = await bench({ renewalWaitMs: 60_000 })
  const other = keys.keyring().clone()
  other.rotate()
  await store.logged.put('sys/policy/a', other.seal('sys/policy/a', Buffer.from('x')))
  let value: Uint8Array | undefined
  const reading = keys.barrier.get('sys/policy/a').then((found) => {
    value = found
  })
  await keys.reloadKeyring()
  expect(value).toBeUndefined()
  await store.logged.put(sealKeys.keyring, other.encrypt())
  await keys.reloadKeyring()
  await reading
  expect(Buffer.from(value!).toString()).toBe('x')
})

test('sealing ends the wait for a keyring', async () => {
  const { keys, store } = await bench({ renewalWaitMs: 60_000 })
  const other = keys.keyring().clone()
  other.rotate()
  await store.logged.put('sys/policy/a', other.seal('sys/policy/a', Buffer.from('x')))
  const reading = keys.barrier.get('sys/policy/a')
  await keys.reloadKeyring()
  await keys.reloadKeyring()
  keys.drop()
  await expect(reading).rejects.toMatchObject({ code: 'CORE_SEALED' })
})

test('a record under a term that nobody stored, and a damaged one, are refused', async () => {
  const { keys, store } = await bench({ renewalWaitMs: 1 })
  const other = keys.keyring().clone()
  other.rotate()
  await store.logged.put('sys/policy/a', other.seal('sys/policy/a', Buffer.from('x')))
  const { barrier } = keys
  await expect(barrier.get('sys/policy/a')).rejects.toMatchObject({ code: 'BARRIER_DECRYPTION_FAILED' })
  const moved = keys.keyring().seal('sys/policy/c', Buffer.from('x'))
  await store.logged.put('sys/policy/b', moved)
  await expect(barrier.get('sys/policy/b')).rejects.toMatchObject({ code: 'BARRIER_DECRYPTION_FAILED' })
})

test('the operator key is handed out as a copy; dropping the keys overwrites them', async () => {
  const { keys } = await bench()
  const handedOut = await keys.operatorKey()
  handedOut.key.fill(0)
  const kept = (await keys.operatorKey()).key
  expect(kept).toEqual(new Uint8Array(32).fill(7))
  expect(await keys.shareCounts()).toEqual({ shares: 3, threshold: 2 })
  const keyring = keys.keyring()
  keys.drop()
  expect(() => keyring.seal('a', new Uint8Array(1))).toThrow('closed')
  expect(() => keys.keyring()).toThrow('Vault is sealed')
  await expect(keys.rotateKeyring()).rejects.toThrow('Vault is sealed')
})

test("a node that knows the former operators' key takes the one in force, and does not tell of its own", async () => {
  const { keys, store } = await bench()
  const other = unsealedKeys(() => store, undefined)
  const former = { key: new Uint8Array(32).fill(7), shares: 3, threshold: 2 }
  other.take({ keyring: keys.keyring().clone(), operatorKey: former })
  await other.replaceOperatorKey({ key: new Uint8Array(32).fill(9), shares: 5, threshold: 3 })
  const told = await store.logged.get(sealKeys.operatorKey)
  // It took the lead while the record could not be opened; now it can.
  await keys.tellOperatorKey()
  expect(await keys.operatorKey()).toEqual({ key: new Uint8Array(32).fill(9), shares: 5, threshold: 3 })
  expect(await store.logged.get(sealKeys.operatorKey)).toEqual(told)
})

test('a change that fails while the record is under a keyring that is on its way ends all the same', async () => {
  const { keys, store } = await bench({ renewalWaitMs: 20 })
  const other = keys.keyring().clone()
  other.rotate()
  await store.logged.put(sealKeys.operatorKey, other.seal(sealKeys.operatorKey, Buffer.from('x')))
  store.logged.begin = () => Promise.reject(new Error('the disk is full'))
  const next = { key: new Uint8Array(32).fill(9), shares: 5, threshold: 3 }
  await expect(keys.replaceOperatorKey(next)).rejects.toThrow('the disk is full')
  await keys.reloadKeyring()
})
