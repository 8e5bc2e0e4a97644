import { memoryStore } from '@lockstep/storage'
import { expect, test } from 'vitest'
import { type NodeRecord, nodeRegistry, registeredNodes } from './node-registry.ts'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }
const DAY_MS = 24 * 3_600_000

test('records of any number of killed nodes hide none that lives, and are deleted after a day', async () => {
  const [physical, now] = [memoryStore(), 10 * DAY_MS]
  const left = (name: string, seenAt: number): Promise<void> => {
    const record: NodeRecord = { name, clusterAddress: '', hostname: '', version: '', state: 'standby', seenAt }
    // Keys are hashes of names: these come before any.
    return physical.put(`nodes/!${name}`, Buffer.from(JSON.stringify(record)))
  }
  for (let n = 0; n < 100; n++) await left(`${n}`, now - DAY_MS - n)
  await left('of yesterday', now - DAY_MS)
  const registry = nodeRegistry({
    ...{ physical, address: 'http://a', clusterAddress: '', hostname: '', version: '' },
    ...{ state: () => 'active', clock: { now: () => now }, log: quiet },
  })
  await expect.poll(async () => (await registry.nodes()).map(({ name }) => name)).toEqual(['http://a'])
  const kept: string[] = []
  for await (const { name } of registeredNodes(physical)) kept.push(name)
  expect(kept.sort()).toEqual(['0', 'http://a', 'of yesterday'])
  await registry.stop()
})
