import { randomBytes } from 'node:crypto'
import { createKeyring, encryptedStore } from '@lockstep/barrier'
import { memoryStore } from '@lockstep/storage'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type HoldableLeaseManager, leaseManager } from '../leases/lease-manager.ts'
import { type RevocableTokenStore, tokenStore } from '../token/token-store.ts'
import { wrappingStore } from './wrapping-store.ts'

const log = { debug() {}, info() {}, warn() {}, error() {} }
const notValid = { code: 'CORE_INVALID_REQUEST', message: 'wrapping token is not valid or does not exist' }

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'], now: 1_800_000_000_000 })
})
afterEach(() => {
  vi.useRealTimers()
})

/** The real token store and lease manager over the real barrier. */
function world() {
  const storage = encryptedStore(memoryStore(), createKeyring())
  const common = { storage, clock: { now: () => Date.now() }, log, random: (bytes: number) => randomBytes(bytes) }
  const leases: HoldableLeaseManager = leaseManager({
    ...common,
    mountTtl: () => ({ default: 3600, max: 7200 }),
    revokeBackend: async () => {},
    renewBackend: async () => undefined,
    revokeToken: (lease) => tokens.revokeLease(lease),
    lookupToken: (id) => tokens.lookup(id),
  })
  const tokens: RevocableTokenStore = tokenStore({
    ...common,
    leases,
    sealBatch: (plaintext) => plaintext,
    openBatch: () => undefined,
    destroyCubbyhole: (id) => storage.delete(`logical/cub/${id}/response`),
  })
  const wrapping = wrappingStore({ ...common, tokens, cubbyholePrefix: () => 'logical/cub/' })
  const wrap = () => wrapping.wrap({ response: { a: 1 }, ttl: 300, path: 'secret/data/app', format: '' })
  return { storage, leases, tokens, wrapping, wrap }
}

test('a wrapping token is a live token until its response was handed out, then nothing of it is left', async () => {
  const { leases, storage, tokens, wrapping, wrap } = world()
  const { token } = await wrap()
  expect(await tokens.lookup(token)).toMatchObject({ policies: ['response-wrapping'], numUses: 1, orphan: true })
  const second = await wrapping.rewrap(token)
  expect(await tokens.lookup(token)).toBeUndefined()
  expect(await wrapping.unwrap(second.token)).toBe('{"a":1}')
  expect(await tokens.lookup(second.token)).toBeUndefined()
  await expect(wrapping.unwrap(second.token)).rejects.toMatchObject(notValid)
  const left: string[] = []
  for await (const [key] of storage.scan()) left.push(key)
  expect(left).toEqual(['sys/token/salt'])
  leases.stop()
})

test('of many concurrent unwraps and rewraps one succeeds', async () => {
  const { leases, wrapping, wrap } = world()
  const { token } = await wrap()
  const calls = Array.from({ length: 10 }, (_, n) => (n % 2 ? wrapping.unwrap(token) : wrapping.rewrap(token)))
  const results = await Promise.allSettled(calls)
  expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1)
  leases.stop()
})

test('an unclaimed response goes when the token expires', async () => {
  const { leases, storage, wrapping, wrap } = world()
  const { token } = await wrap()
  await vi.advanceTimersByTimeAsync(299_000)
  expect(await wrapping.lookup(token)).toMatchObject({ creation_ttl: 300 })
  await vi.advanceTimersByTimeAsync(2_000)
  await expect(wrapping.unwrap(token)).rejects.toMatchObject(notValid)
  await vi.waitFor(async () => expect(await storage.list('logical/')).toEqual([]))
  leases.stop()
})

test('revoking the token destroys the response', async () => {
  const { leases, storage, tokens, wrapping, wrap } = world()
  const { token } = await wrap()
  await tokens.revoke(token)
  await expect(wrapping.unwrap(token)).rejects.toMatchObject(notValid)
  expect(await storage.list('logical/')).toEqual([])
  leases.stop()
})
