/** A peer that breaks the rules: the session refuses with a reason and ends the link, and nothing of it is stored. */
import {
  ENTRY_BYTES,
  keyIdOf,
  leafDigestOf,
  type Message,
  merkleForest,
  NO_POSITION,
  type PrimaryEffect,
  primarySession,
  type SecondaryEffect,
  secondarySession,
} from '@lockstep/replication'
import { describe, expect, test } from 'vitest'

const cursor = (index: number, epoch = 1) => ({ epoch, index, digest: new Uint8Array(32).fill(index) })
const report = () => ({ canary: 0, addresses: [], apiAddress: '' })
const hash = (byte: number) => new Uint8Array(32).fill(byte)

function refusal(effects: readonly (PrimaryEffect | SecondaryEffect)[]): string | undefined {
  const sent = effects.flatMap((effect) => (effect.type === 'send' ? [effect.message] : []))
  const refused = sent.find((message) => message.type === 'refuse')
  if (refused) expect(effects.at(-1)).toMatchObject({ type: 'close', code: refused.code })
  return refused && `${refused.code}: ${refused.message}`
}

// ------------------------------------------------------------- the secondary

function secondary(held: readonly string[] = []) {
  const forest = merkleForest()
  for (const key of held) forest.set('replicated/m', keyIdOf(key), leafDigestOf(key, Buffer.from(key)))
  const session = secondarySession(
    { secondaryId: 'two', kind: 'performance', forest, accept: () => true, report },
    { ...NO_POSITION, clusterId: 'set', epoch: 1 },
  )
  session.step({ type: 'start' }, 0)
  const hear = (message: Message) => session.step({ type: 'message', message }, 0)
  return { session, hear }
}

const welcome: Message = {
  type: 'welcome',
  protocol: 1,
  clusterId: 'set',
  head: cursor(5),
  view: 'v',
  mode: 'diff',
  reason: '',
}
const begin: Message = { type: 'diff-begin', round: 1, from: cursor(5), view: 'v', reason: '' }

/** A secondary that has just asked for the roots. */
function inDiff(held: readonly string[] = []) {
  const peer = secondary(held)
  peer.hear(welcome)
  const sent = peer.hear(begin)
  expect(sent).toMatchObject([{ message: { type: 'get-roots' } }])
  return peer
}
const root = (partition: string, count = 3) => ({ partition, count, root: hash(7) })
const roots = (...items: ReturnType<typeof root>[]): Message => ({ type: 'roots', round: 1, items, more: false })

describe('the secondary refuses', () => {
  test.each<[string, string, readonly Message[]]>([
    ['a batch before the welcome', 'protocol', [wal(1)]],
    ['a diff before the welcome', 'protocol', [begin]],
    ['a second welcome', 'protocol', [welcome, welcome]],
    ['a version it did not offer', 'version', [{ ...welcome, protocol: 3 }]],
    ['another replication set', 'cluster', [{ ...welcome, clusterId: 'other' }]],
    ['an earlier epoch', 'fenced', [{ ...welcome, head: cursor(5, 0) }]],
    ['an earlier epoch in a diff', 'fenced', [welcome, { ...begin, from: cursor(5, 0) }]],
    ['a stream from nowhere', 'protocol', [{ ...welcome, mode: 'stream' }]],
    ['a round that skips', 'protocol', [welcome, { ...begin, round: 2 }]],
    ['a message that only secondaries send', 'protocol', [{ type: 'synced', round: 0 }]],
  ])('%s', (_, code, messages) => {
    const { session, hear } = secondary()
    const refused = messages.map((message) => refusal(hear(message))).filter((each) => each !== undefined)
    expect(refused).toHaveLength(1)
    expect(refused[0]).toMatch(new RegExp(`^${code}: `))
    expect(session.status(0).state).toBe('idle')
    expect(hear(welcome)).toEqual([])
  })

  test.each<[string, RegExp, Message]>([
    ['roots out of order', /out of order/, roots(root('replicated/b'), root('replicated/a'))],
    ['roots of class local', /not-accepted.*local\/m/, roots(root('local/m'))],
    ['roots without end', /without end/, { type: 'roots', round: 1, items: [], more: true }],
    ['nodes nobody asked for', /not asked for/, { type: 'nodes', round: 1, id: 1, nodes: [] }],
    ['answers of a round to come', /unexpected roots/, { type: 'roots', round: 2, items: [], more: false }],
  ])('%s', (_, reason, message) => {
    expect(refusal(inDiff().hear(message))).toMatch(reason)
  })

  test('fetched entries that were not asked for, from elsewhere, or deleted', () => {
    const bad: [RegExp, Partial<Extract<Message, { type: 'entries' }>>][] = [
      [/of another partition/, { group: group(['a'], 'replicated/n') }],
      [/not asked for/, { id: 9 }],
      [/not asked for/, { group: group([...['a', 'b'].sort(byKeyId)].reverse()) }],
      [/a deletion/, { group: { ...group(['a']), values: [null] } }],
      [/does not advance/, { group: group([]), next: keyIdOf('a') }],
    ]
    for (const [reason, change] of bad) {
      const { hear } = inDiff()
      hear(roots(root('replicated/m')))
      const answer: Message = { type: 'entries', round: 1, id: 1, group: group(['a']), next: null, ...change }
      // The last one advances once, and is stuck when it comes again.
      const first = refusal(hear(answer))
      expect(first ?? refusal(hear({ ...answer, id: 2 }))).toMatch(reason)
    }
  })

  test('buckets out of order or not below their path, and trees too deep', () => {
    const ids = ['a', 'b', 'c'].map(keyIdOf).sort(Buffer.compare)
    const packed = Buffer.concat(ids.reverse().map((id) => Buffer.concat([id, hash(1)])))
    expect(packed).toHaveLength(3 * ENTRY_BYTES)
    const { hear } = inDiff(['a'])
    hear(roots(root('replicated/m')))
    const bucket: Message = { type: 'nodes', round: 1, id: 1, nodes: [{ kind: 'bucket', count: 3, bytes: packed }] }
    expect(refusal(hear(bucket))).toMatch(/out of order/)

    const other = inDiff(['a'])
    let effects = other.hear(roots(root('replicated/m')))
    const inner = { kind: 'inner' as const, count: 65, bytes: new Uint8Array(512).fill(1) }
    let answer: string | undefined
    while (answer === undefined) {
      const asked = effects.flatMap((effect) => (effect.type === 'send' ? [effect.message] : []))
      const question = asked.find((message) => message.type === 'get-nodes')!
      expect(question.paths).toHaveLength(1)
      effects = other.hear({ type: 'nodes', round: 1, id: question.id, nodes: [inner] })
      answer = refusal(effects)
    }
    expect(answer).toMatch(/too deep/)
  })
})

function wal(index: number, change: object = {}): Message {
  return {
    type: 'wal',
    round: 0,
    cursor: cursor(index),
    head: index,
    groups: [],
    guard: null,
    after: null,
    digest: null,
    ...change,
  }
}
function group(keys: string[], partition = 'replicated/m') {
  return { partition, mountPath: 'secret/', keys, values: keys.map((key) => Buffer.from(key) as Uint8Array) }
}
function byKeyId(a: string, b: string): number {
  return Buffer.compare(keyIdOf(a), keyIdOf(b))
}

test('a streaming secondary refuses logs that run backwards, and classes it must not hold', () => {
  const streaming = () => {
    const session = secondarySession(
      { secondaryId: 'two', kind: 'performance', forest: merkleForest(), accept: () => true, report },
      { clusterId: 'set', epoch: 1, view: 'v', cursor: cursor(5) },
    )
    session.step({ type: 'start' }, 0)
    session.step({ type: 'message', message: { ...welcome, mode: 'stream' } }, 0)
    return (message: Message) => session.step({ type: 'message', message }, 0)
  }
  expect(refusal(streaming()(wal(4)))).toMatch(/backwards/)
  expect(refusal(streaming()(wal(6, { round: 1 })))).toMatch(/unexpected batch/)
  const effects = streaming()(wal(6, { groups: [group(['a'], 'local/m')] }))
  expect(refusal(effects)).toMatch(/^not-accepted: local\/m/)
  expect(effects.some((effect) => effect.type === 'apply')).toBe(false)
})

// --------------------------------------------------------------- the primary

function primary() {
  const forest = merkleForest()
  for (let n = 0; n < 300; n++) forest.set('replicated/m', keyIdOf(`${n}`), hash(n))
  const view = { id: 'v', ships: () => true, mountPathOf: () => 'secret/' }
  const log = { head: () => cursor(5), oldest: () => 1 }
  const session = primarySession(
    { secondaryId: 'two', kind: 'performance', clusterId: 'set', forest, view, log, report },
    {},
  )
  return (message: Message) => session.step({ type: 'message', message }, 0)
}
const hello: Message = {
  type: 'hello',
  protocol: { min: 1, max: 1 },
  kind: 'performance',
  secondaryId: 'two',
  clusterId: '',
  cursor: null,
  epoch: 0,
  view: '',
}

describe('the primary refuses', () => {
  test.each<[string, RegExp, readonly Message[]]>([
    ['anything before the hello', /unexpected ack/, [{ type: 'ack', round: 0, cursor: cursor(1) }]],
    ['a second hello', /second hello/, [hello, hello]],
    ['rounds that never began', /never began/, [hello, { type: 'synced', round: 2 }]],
    ['acknowledgements during a diff', /unexpected ack/, [hello, { type: 'ack', round: 1, cursor: cursor(5) }]],
    [
      'acknowledgements of what was not sent',
      /not sent/,
      [hello, { type: 'synced', round: 1 }, { type: 'ack', round: 1, cursor: cursor(4) }],
    ],
    [
      'diff questions while streaming',
      /while streaming/,
      [hello, { type: 'synced', round: 1 }, { type: 'get-roots', round: 1, after: '' }],
    ],
    [
      'questions for sketches in version 1',
      /get-sketch in version 1/,
      [
        hello,
        {
          type: 'get-sketch',
          round: 1,
          id: 1,
          partition: 'replicated/m',
          paths: [''],
          first: 0,
          state: null,
          symbols: 8,
        },
      ],
    ],
    ['messages that only primaries send', /does not send wal/, [hello, wal(1)]],
    [
      'too many fetches at once',
      /too many/,
      [
        hello,
        ...Array.from({ length: 33 }, (_, id): Message => {
          return { type: 'get-keys', round: 1, id, partition: 'replicated/m', keyIds: keyIdOf('1') }
        }),
      ],
    ],
  ])('%s', (_, reason, messages) => {
    const hear = primary()
    const refused = messages.map((message) => refusal(hear(message))).filter((each) => each !== undefined)
    expect(refused).toHaveLength(1)
    expect(refused[0]).toMatch(reason)
    expect(hear(hello)).toEqual([])
  })

  test('nothing about partitions the view withholds, not even that they exist', () => {
    const forest = merkleForest()
    forest.set('local/m', keyIdOf('a'), hash(1))
    const view = { id: 'v', ships: () => true, mountPathOf: () => 'secret/' }
    const log = { head: () => cursor(5), oldest: () => 1 }
    const session = primarySession(
      { secondaryId: 'two', kind: 'performance', clusterId: 'set', forest, view, log, report },
      {},
    )
    const ask = (message: Message) => session.step({ type: 'message', message }, 0)
    ask({ ...hello, protocol: { min: 1, max: 2 } })
    const of = { round: 1, partition: 'local/m' }
    const empty = { partition: 'local/m', keys: [], values: [] }
    expect(ask({ type: 'get-roots', round: 1, after: '' })).toMatchObject([{ message: { items: [] } }])
    expect(ask({ type: 'get-nodes', ...of, id: 1, paths: [''] })).toMatchObject([
      { message: { nodes: [{ kind: 'empty', count: 0 }] } },
    ])
    const question = { ...of, type: 'get-sketch' as const, id: 5, paths: [''], first: 0, state: null, symbols: 4 }
    const unknown = ask({ ...question, partition: 'local/none' })
    expect(ask(question)).toEqual(unknown)
    expect(unknown).toMatchObject([{ message: { count: 0, symbols: Buffer.alloc(4 * 29) } }])
    expect(ask({ type: 'get-keys', ...of, id: 2, keyIds: keyIdOf('a') })).toMatchObject([
      { type: 'send', message: { group: empty, next: null } },
    ])
    expect(ask({ type: 'get-subtree', ...of, id: 3, path: '', after: null })).toMatchObject([
      { type: 'send', message: { group: empty, next: null } },
    ])
  })
})
