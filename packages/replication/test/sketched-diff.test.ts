/** Diffs by sketches beside what can go wrong with them: writes meanwhile, a primary whose sketches are wrong, one that has none to give. */
import type { Message } from '@lockstep/replication'
import { expect, test } from 'vitest'
import { sketchAnswer } from '../src/primary/sketch-answer.ts'
import { hashKeyOf } from '../src/sketch/item-hash.ts'
import { modelCluster } from './model-cluster.ts'
import { simulatedLink } from './simulated-link.ts'

const partition = { class: 'replicated', mount: 'm' } as const
const KEYS = 2000
let now = 1_000_000

/** Two equal clusters of 2,000 keys, then `changes` values changed on the secondary behind replication's back. */
function pair(hooks: {
  onSend?: (from: 'primary' | 'secondary', message: Message) => void
  rewriteAnswer?: (message: Message, secondary: ReturnType<typeof modelCluster>) => Message
}) {
  const primary = modelCluster('primary')
  const secondary = modelCluster('secondary')
  primary.mounts.set('m', 'm/')
  const sent: Message[] = []
  const link = simulatedLink(
    { primary, secondary },
    {
      kind: 'performance',
      secondaryId: 'two',
      view: { id: 'all', ships: () => true, mountPathOf: (mount) => primary.mounts.get(mount) },
      onSend: (from, message) => {
        sent.push(message)
        hooks.onSend?.(from, message)
      },
      rewriteAnswer: (message) => hooks.rewriteAnswer?.(message, secondary) ?? message,
    },
  )
  const write = (n: number, value: string, cluster = primary) =>
    cluster.commit([{ partition, key: `k${n}`, value: Buffer.from(value) }])
  const run = () => {
    for (let turn = 0; link.ready().length > 0; turn++) link.take(link.ready()[turn % link.ready().length]!, now)
  }
  const tick = (ms: number) => {
    now += ms
    link.tick(now)
    run()
  }
  for (let n = 0; n < KEYS; n++) write(n, 'first')
  link.connect(now)
  run()
  sent.length = 0
  return {
    primary,
    link,
    sent,
    write,
    run,
    tick,
    tamper: (changes: number) => {
      for (let n = 0; n < changes; n++) write(n * 7, 'tampered', secondary)
    },
    types: () => new Set(sent.map(({ type }) => type)),
    expectEqual() {
      expect(link.ended).toBe('')
      const values = (cluster: typeof primary) =>
        [...cluster.contents()].map(([key, { value }]) => `${key} ${Buffer.from(value)}`).sort()
      expect(values(secondary)).toEqual(values(primary))
    },
  }
}

test('symbols of two states are not mixed: when the primary has changed meanwhile, all of them come anew', () => {
  let writes = 0
  const asked: Extract<Message, { type: 'get-sketch' }>[] = []
  const ends = pair({
    onSend: (_from, message) => {
      if (message.type !== 'get-sketch') return
      asked.push(message)
      if (message.first > 0 && writes++ < 2) ends.write(writes, 'meanwhile')
    },
  })
  ends.tamper(150)
  ends.link.compare('asked', now)
  ends.run()
  const answers = ends.sent.filter((message) => message.type === 'sketch')
  expect(writes).toBeGreaterThan(0)
  expect(asked.some(({ first }) => first > 0)).toBe(true)
  // Every question but those before which nothing was written is answered from the first symbol on.
  const restarted = answers.filter(
    ({ first, symbols }, at) => asked[at]!.first > 0 && first === 0 && symbols.length > 0,
  )
  expect(restarted).toHaveLength(Math.min(writes, 2))
  ends.link.appended(now)
  ends.run()
  ends.tick(250)
  ends.expectEqual()
  expect(ends.types().has('get-nodes')).toBe(false)
  expect(ends.link.secondary!.status(now)).toMatchObject({ guardFailures: 0, lastRepair: { reason: 'asked' } })
})

test('after a sketched diff that did not help, the trie tells', () => {
  const ends = pair({
    // Sketches of what the secondary has: as if nothing differed.
    rewriteAnswer: (message, secondary) => {
      if (message.type !== 'sketch') return message
      const question = ends.sent.findLast((each) => each.type === 'get-sketch')!
      const begin = ends.sent.findLast((each) => each.type === 'diff-begin')!
      const key = hashKeyOf(begin.round, begin.from)
      return sketchAnswer({ forest: secondary.forest, shown: true, key }, question)
    },
  })
  ends.tamper(3)
  ends.tick(30_000 / 2)
  ends.write(1, 'next')
  ends.link.appended(now)
  ends.run()
  for (let second = 0; second < 5; second++) ends.tick(1000)
  const rounds = new Map<number, Set<string>>()
  for (const message of ends.sent) {
    if (!('round' in message)) continue
    const types = rounds.get(message.round) ?? new Set()
    rounds.set(message.round, types.add(message.type))
  }
  const [sketched, plain] = [...rounds.values()].filter((types) => types.has('get-roots'))
  expect(sketched!.has('get-sketch')).toBe(true)
  expect(sketched!.has('get-nodes')).toBe(false)
  expect(plain!.has('get-sketch')).toBe(false)
  expect(plain!.has('get-nodes')).toBe(true)
  ends.expectEqual()
  expect(ends.link.secondary!.status(now)).toMatchObject({ guardFailures: 0, lastRepair: { reason: 'guard', keys: 3 } })
})

test.each<[string, (message: Extract<Message, { type: 'sketch' }>) => Message]>([
  ['are too large for the primary', (message) => ({ ...message, symbols: new Uint8Array(0) })],
  ['are noise', (message) => ({ ...message, symbols: message.symbols.map((byte, at) => (byte * 31 + at * 17) & 255) })],
])('sketches that %s leave it to the trie', (_, change) => {
  const ends = pair({ rewriteAnswer: (message) => (message.type === 'sketch' ? change(message) : message) })
  ends.tamper(3)
  ends.link.compare('asked', now)
  ends.run()
  expect(ends.types().has('get-nodes')).toBe(true)
  ends.expectEqual()
  expect(ends.link.secondary!.status(now).lastRepair).toMatchObject({ keys: 3 })
})

test.each<[string, (message: Extract<Message, { type: 'sketch' }>) => Message]>([
  ['of another size', (message) => ({ ...message, symbols: message.symbols.slice(29) })],
  ['that begin elsewhere', (message) => ({ ...message, first: 1 })],
  ['that nobody asked for', (message) => ({ ...message, id: message.id + 1 })],
])('sketches %s end the link', (_, change) => {
  const ends = pair({ rewriteAnswer: (message) => (message.type === 'sketch' ? change(message) : message) })
  ends.tamper(3)
  ends.link.compare('asked', now)
  ends.run()
  expect(ends.link.ended).toMatch(/^protocol: a sketch/)
})
