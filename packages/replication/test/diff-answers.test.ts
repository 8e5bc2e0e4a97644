import { keyIdOf, leafDigestOf, type Message, merkleForest, primarySession } from '@lockstep/replication'
import { describe, expect, test } from 'vitest'

const KEYS = 1500
const partition = 'replicated/m'
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** A primary of 1500 keys in a diff, whose reads are answered at once. `ask` returns the entries it sends. */
function primary(options: { answerBytes: number; valueBytes: number }) {
  const forest = merkleForest()
  const byId = new Map<string, string>()
  for (let n = 0; n < KEYS; n++) {
    const key = `key ${n}`
    byId.set(hex(keyIdOf(key)), key)
    forest.set(partition, keyIdOf(key), leafDigestOf(key, Buffer.from(key)))
  }
  const head = { epoch: 1, index: 5, digest: new Uint8Array(32) }
  const session = primarySession(
    {
      secondaryId: 'two',
      kind: 'performance',
      clusterId: 'set',
      forest,
      view: { id: 'v', ships: () => true, mountPathOf: () => 'secret/' },
      log: { head: () => head, oldest: () => 1 },
      report: () => ({ canary: 0, addresses: [], apiAddress: '' }),
    },
    options,
  )
  let reads = 0
  const ask = (message: Message) => {
    let effects = session.step({ type: 'message', message }, 0)
    for (;;) {
      const [effect] = effects
      if (effect?.type !== 'read-entries') break
      reads = Math.max(reads, effect.keyIds.length)
      const entries = effect.keyIds.map((id) => {
        const key = byId.get(hex(id))!
        return key === 'key 7' ? undefined : { key, value: new Uint8Array(options.valueBytes) }
      })
      effects = session.step({ type: 'entries', id: effect.id, entries }, 0)
    }
    const [effect] = effects
    if (effect?.type !== 'send' || effect.message.type !== 'entries') throw new Error('no entries')
    return effect.message
  }
  session.step(
    {
      type: 'message',
      message: {
        type: 'hello',
        protocol: { min: 1, max: 1 },
        kind: 'performance',
        secondaryId: 'two',
        clusterId: '',
        cursor: null,
        epoch: 0,
        view: '',
      },
    },
    0,
  )
  return { ask, largestRead: () => reads }
}

describe.each([
  { name: 'small values: bounded by number', answerBytes: 1 << 20, valueBytes: 10, most: 512 },
  { name: 'large values: bounded by bytes', answerBytes: 100_000, valueBytes: 5000, most: 64 },
])('$name', ({ answerBytes, valueBytes, most }) => {
  test('a subtree larger than one answer comes in pages, every entry once, those gone left out', () => {
    const { ask, largestRead } = primary({ answerBytes, valueBytes })
    const found: string[] = []
    let after: Uint8Array | null = null
    for (let id = 1; id === 1 || after !== null; id++) {
      const { group, next } = ask({ type: 'get-subtree', round: 1, id, partition, path: '', after })
      expect(group.keys.length).toBeLessThanOrEqual(most)
      found.push(...group.keys)
      after = next
    }
    expect(new Set(found).size).toBe(KEYS - 1)
    expect(found).toHaveLength(KEYS - 1)
    expect(largestRead()).toBeLessThanOrEqual(64)
  })

  test('so do single keys', () => {
    const { ask } = primary({ answerBytes, valueBytes })
    const ids = Array.from({ length: 1000 }, (_, n) => keyIdOf(`key ${n}`)).sort(Buffer.compare)
    const found: string[] = []
    let left = ids
    for (let id = 1; left.length > 0; id++) {
      const { group, next } = ask({ type: 'get-keys', round: 1, id, partition, keyIds: Buffer.concat(left) })
      found.push(...group.keys)
      left = next === null ? [] : left.filter((each) => Buffer.compare(each, next) > 0)
    }
    expect(new Set(found).size).toBe(999)
    expect(found).toHaveLength(999)
  })
})
