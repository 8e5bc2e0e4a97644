// Who leads, as published with the leader lock and authenticated; and the root of trust of a cluster's nodes.
import { createKeyring, encryptedStore } from '@lockstep/barrier'
import { memoryStore } from '@lockstep/storage'
import { classRules, vaultRules } from '@lockstep/storage-classes'
import { expect, test } from 'vitest'
import { encodeAdvertisement } from '../../src/ha/advertisement.ts'
import { haStatus } from '../../src/ha/ha-status.ts'
import { leaderWatch } from '../../src/ha/leader-watch.ts'
import { ensureNodeTrust, readNodeTrust } from '../../src/ha/node-trust.ts'

const NOW = Date.parse('2026-11-23T00:00:00Z')
const YEAR_MS = 365.25 * 24 * 3_600_000

async function watching() {
  const physical = memoryStore()
  const keyring = createKeyring()
  const barrier = encryptedStore(physical, () => keyring)
  const trust = await ensureNodeTrust(barrier, NOW)
  const warnings: string[] = []
  let now = NOW
  let published: string | undefined
  let asked = 0
  const watch = leaderWatch({
    lock: {
      async holder() {
        asked++
        return published
      },
    },
    unsealed: () => ({ barrier }) as never,
    isOwn: (term) => term === 'own',
    clock: { now: () => now },
    log: { debug() {}, info() {}, warn: (message) => void warnings.push(message), error() {} },
  })
  const advertisement = (changed = {}) => ({
    ...{
      apiAddress: 'http://a:1',
      clusterAddress: 'https://a:2',
      term: 'one',
      ca: trust.fingerprint,
      activeSince: NOW,
    },
    ...changed,
  })
  return {
    ...{ physical, barrier, trust, watch, warnings, advertisement },
    asked: () => asked,
    publish: (text: string | undefined) => {
      published = text
      now += 1000
    },
  }
}

test('what the active node publishes is read by who holds the keys', async () => {
  const { watch, publish, advertisement, trust, asked } = await watching()
  expect(await watch.current()).toBeUndefined()
  publish(encodeAdvertisement(advertisement(), trust.advertisementKey))
  expect(await watch.current()).toMatchObject(advertisement())
  const before = asked()
  await Promise.all([watch.current(), watch.current()])
  expect(asked()).toBe(before)
  publish(encodeAdvertisement(advertisement({ term: 'own' }), trust.advertisementKey))
  expect(await watch.current()).toBeUndefined()
})

test('who can only write to the storage cannot send clients elsewhere', async () => {
  const { watch, publish, advertisement, trust, warnings } = await watching()
  const good = encodeAdvertisement(advertisement(), trust.advertisementKey)
  const forged = [
    'http://evil:1',
    good.replace('http://a:1', 'http://evil:1'),
    good.replace('https://a:2', 'https://evil:2'),
    good.replace('"one"', '"two"'),
    good.replace(trust.fingerprint, 'f'.repeat(64)),
    encodeAdvertisement(advertisement({ apiAddress: 'http://evil:1' }), new Uint8Array(32)),
    good.replace(/"mac":"[^"]*"/, '"mac":""'),
    'null',
    '{}',
    'x'.repeat(10_000),
  ]
  for (const text of forged) {
    publish(text)
    expect(await watch.current(), text.slice(0, 200)).toBeUndefined()
  }
  expect(warnings.length).toBeGreaterThan(0)
  publish(good)
  expect(await watch.current()).toMatchObject({ apiAddress: 'http://a:1' })
})

test('the root of trust is made once, behind the barrier, is never shipped, and is made anew before it ends', async () => {
  const { physical, barrier, trust } = await watching()
  expect(await ensureNodeTrust(barrier, NOW)).toEqual(trust)
  expect(await readNodeTrust(barrier)).toEqual(trust)
  const keys: string[] = []
  for await (const [key, value] of physical.scan({ prefix: '' })) {
    keys.push(key)
    expect(Buffer.from(value).toString('latin1')).not.toContain('PRIVATE')
  }
  const rules = classRules(vaultRules)
  expect(keys.map((key) => rules.classify(key).class)).toEqual(['ignored'])
  const later = await ensureNodeTrust(barrier, trust.ca.notAfter - YEAR_MS / 2)
  expect(later.fingerprint).not.toBe(trust.fingerprint)
})

test('sys/ha-status: the active node, and standbys that are noted; an echo is news of a noted one', () => {
  const self = { apiAddress: 'http://b', clusterAddress: 'https://b', hostname: 'h', version: '1' }
  const noted = (name: string, state: 'sealed' | 'standby' | 'active', seenAt = NOW) => ({
    ...{ name, clusterAddress: `c${name}`, hostname: 'h', version: '1', state, seenAt },
  })
  const echo = { apiAddress: 'http://a', clusterAddress: 'https://a', hostname: 'x', version: '2', at: NOW + 1000 }
  const gone = { ...echo, apiAddress: 'http://gone' }
  const nodes = haStatus(
    self,
    [
      noted('http://a', 'standby'),
      noted('http://b', 'active'),
      noted('http://c', 'sealed'),
      noted('http://d', 'standby'),
    ],
    [echo, gone],
  )
  expect(nodes).toEqual([
    {
      ...{ hostname: 'x', api_address: 'http://a', cluster_address: 'https://a', active_node: false, version: '2' },
      last_echo: new Date(NOW + 1000).toISOString(),
    },
    {
      ...{ hostname: 'h', api_address: 'http://b', cluster_address: 'https://b', active_node: true, version: '1' },
      last_echo: null,
    },
    {
      ...{ hostname: 'h', api_address: 'http://d', cluster_address: 'chttp://d', active_node: false, version: '1' },
      last_echo: new Date(NOW).toISOString(),
    },
  ])
})
