/** Whatever bytes and values come in: the package's error or a value, in bounded time, and nothing else. */
import {
  decodePosition,
  decodeRecord,
  encodePosition,
  encodeRecord,
  MESSAGE_LIMITS,
  type Message,
  merkleForest,
  NO_POSITION,
  type Position,
  parseMessage,
  primarySession,
  ReplicationError,
  secondarySession,
} from '@lockstep/replication'
import fc from 'fast-check'
import { expect, test } from 'vitest'

const runs = { numRuns: process.env.SLOW ? 20_000 : 300 }
const report = () => ({ canary: 0, addresses: [], apiAddress: '' })

/** The result, or undefined for the package's own error; any other one fails the test. */
function tried<T>(code: string, run: () => T): T | undefined {
  try {
    return run()
  } catch (error) {
    expect(error).toBeInstanceOf(ReplicationError)
    expect(error).toMatchObject({ code })
    return undefined
  }
}

/** Valid bytes with some changed, cut out or put in. */
const mutated = (valid: fc.Arbitrary<Uint8Array>) =>
  fc
    .tuple(
      valid,
      fc.array(fc.tuple(fc.nat(), fc.constantFrom('flip', 'cut', 'insert'), fc.uint8Array({ maxLength: 8 })), {
        maxLength: 4,
      }),
    )
    .map(([bytes, changes]) => {
      let result = Buffer.from(bytes)
      for (const [place, how, with_] of changes) {
        const at = place % (result.length + 1)
        if (how === 'flip' && result.length > 0) result[at % result.length]! ^= 1 + (place % 255)
        if (how === 'cut') result = Buffer.concat([result.subarray(0, at), result.subarray(at + with_.length)])
        if (how === 'insert') result = Buffer.concat([result.subarray(0, at), with_, result.subarray(at)])
      }
      return new Uint8Array(result)
    })

const wellFormed = (text: string) => Buffer.from(text).toString() === text
const text = fc.string({ unit: 'binary', maxLength: 30 }).filter(wellFormed)
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 })
const cursor = fc.record({ epoch: fc.maxSafeNat(), index: fc.maxSafeNat(), digest })

test('stored positions', () => {
  const position: fc.Arbitrary<Position> = fc.record({
    clusterId: text,
    epoch: fc.maxSafeNat(),
    view: text,
    cursor: fc.option(cursor),
  })
  fc.assert(
    fc.property(position, (value) => {
      const { cursor, ...rest } = decodePosition(encodePosition(value))
      expect({ ...rest, cursor: cursor && { ...cursor, digest: new Uint8Array(cursor.digest) } }).toEqual(value)
    }),
    runs,
  )
  const json = fc.jsonValue().map((value) => new TextEncoder().encode(JSON.stringify(value)))
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 300 }), json, mutated(position.map(encodePosition)))
  fc.assert(
    fc.property(bytes, (input) => {
      const value = tried('REPLICATION_INVALID_RECORD', () => decodePosition(input))
      if (value === undefined) return
      expect(Number.isSafeInteger(value.epoch) && value.epoch >= 0).toBe(true)
      expect(value.cursor === null || value.cursor.digest.length === 32).toBe(true)
      // What was read can be written and read again.
      expect(decodePosition(encodePosition(value))).toEqual(value)
    }),
    runs,
  )
})

test('log records', () => {
  const operation = fc.record({
    partition: fc.record({
      class: fc.constantFrom('replicated' as const, 'local' as const),
      mount: fc.constantFrom('m', 'core'),
    }),
    mountPath: text,
    key: text.filter((key) => key !== ''),
    value: fc.option(fc.uint8Array({ maxLength: 60 }), { nil: undefined }),
  })
  const record = fc.record({
    epoch: fc.maxSafeNat(),
    index: fc.maxSafeNat(),
    operations: fc.array(operation, { maxLength: 4 }),
  })
  fc.assert(
    fc.property(mutated(record.map(encodeRecord)), (input) => {
      const value = tried('REPLICATION_INVALID_RECORD', () => decodeRecord(input))
      // A record has one encoding.
      if (value) expect(Buffer.compare(encodeRecord(value), input)).toBe(0)
    }),
    runs,
  )
})

const int = fc.oneof(fc.nat(5), fc.maxSafeNat())
const partition = fc.constantFrom('replicated/m', 'local/m', 'replicated/core')
const path = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), maxLength: 33 })
const group = fc
  .record({
    partition,
    mountPath: fc.constantFrom('', 'm/'),
    entries: fc.array(fc.tuple(text, fc.option(fc.uint8Array({ maxLength: 20 }))), { maxLength: 4 }),
  })
  .map(({ entries, ...rest }) => ({
    ...rest,
    keys: entries.map(([key]) => key),
    values: entries.map(([, value]) => value),
  }))
const bytesOf = (unit: number, most = 4) =>
  fc.nat(most).chain((n) => fc.uint8Array({ minLength: n * unit, maxLength: n * unit }))
const version = fc.constantFrom(1, 2, 3)

/** Messages that are nearly always valid, and often at the wrong time. */
const message: fc.Arbitrary<unknown> = fc.oneof(
  fc.record({
    type: fc.constant('hello'),
    protocol: fc.record({ min: version, max: version }),
    kind: fc.constantFrom('performance', 'dr'),
    secondaryId: fc.constant('two'),
    clusterId: fc.constantFrom('', 'set'),
    cursor: fc.option(cursor),
    epoch: fc.nat(2),
    view: fc.constantFrom('', 'v'),
  }),
  fc.record({
    type: fc.constant('welcome'),
    protocol: version,
    clusterId: fc.constant('set'),
    head: cursor,
    view: fc.constant('v'),
    mode: fc.constantFrom('stream', 'diff'),
    reason: fc.constant(''),
  }),
  fc.record({
    type: fc.constant('wal'),
    round: fc.nat(2),
    cursor,
    head: int,
    groups: fc.array(group, { maxLength: 3 }),
    guard: fc.option(digest),
    after: fc.option(cursor),
    digest: fc.option(digest),
  }),
  fc.record({ type: fc.constant('diff-begin'), round: fc.nat(2), from: cursor, view: fc.constant('v'), reason: text }),
  fc.record({
    type: fc.constant('roots'),
    round: fc.nat(2),
    items: fc.array(fc.record({ partition, count: int, root: digest }), { maxLength: 3 }),
    more: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('nodes'),
    round: fc.nat(2),
    id: fc.nat(4),
    nodes: fc.array(
      fc.oneof(
        fc.record({ kind: fc.constant('inner'), count: int, bytes: fc.uint8Array({ minLength: 512, maxLength: 512 }) }),
        fc.record({ kind: fc.constant('bucket'), count: int, bytes: bytesOf(48) }),
        fc.constant({ kind: 'empty', count: 0, bytes: new Uint8Array(0) }),
      ),
      { maxLength: 2 },
    ),
  }),
  fc.record({
    type: fc.constant('sketch'),
    round: fc.nat(2),
    id: fc.nat(4),
    count: int,
    state: digest,
    first: fc.nat(50),
    symbols: fc.oneof(
      bytesOf(29),
      fc.constant(new Uint8Array(48 * 29)),
      fc.uint8Array({ minLength: 48 * 29, maxLength: 48 * 29 }),
    ),
  }),
  fc.record({
    type: fc.constant('entries'),
    round: fc.nat(2),
    id: fc.nat(4),
    group,
    next: fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 })),
  }),
  fc.record({ type: fc.constant('ack'), round: fc.nat(2), cursor }),
  fc.record({ type: fc.constant('diff-request'), round: fc.nat(2), reason: text }),
  fc.record({ type: fc.constant('get-roots'), round: fc.nat(2), after: fc.oneof(fc.constant(''), partition) }),
  fc.record({
    type: fc.constant('get-nodes'),
    round: fc.nat(2),
    id: int,
    partition,
    paths: fc.array(path, { maxLength: 3 }),
  }),
  fc.record({
    type: fc.constant('get-sketch'),
    round: fc.nat(2),
    id: int,
    partition,
    paths: fc.array(path, { maxLength: 3 }),
    first: fc.nat(MESSAGE_LIMITS.sketchSymbols),
    state: fc.option(digest),
    symbols: fc.nat(MESSAGE_LIMITS.sketchSymbols),
  }),
  fc.record({ type: fc.constant('get-keys'), round: fc.nat(2), id: int, partition, keyIds: bytesOf(16) }),
  fc.record({
    type: fc.constant('get-subtree'),
    round: fc.nat(2),
    id: int,
    partition,
    path,
    after: fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 })),
  }),
  fc.record({ type: fc.constant('synced'), round: fc.nat(2) }),
)

/** One field, somewhere, becomes anything. */
const damaged = fc
  .tuple(message, fc.nat(), fc.anything({ withTypedArray: true, withBigInt: true, maxDepth: 2 }))
  .map(([valid, place, other]) => {
    const copy = structuredClone(valid) as Record<string, unknown>
    const names = Object.keys(copy)
    const name = names[place % names.length]!
    const inner = copy[name]
    if (inner !== null && typeof inner === 'object' && !(inner instanceof Uint8Array) && place % 2 === 0) {
      const parts = Object.keys(inner)
      if (parts.length > 0) (inner as Record<string, unknown>)[parts[(place >> 3) % parts.length]!] = other
    } else {
      copy[name] = other
    }
    return copy
  })

test('messages, valid ones and those that nearly are', () => {
  fc.assert(
    fc.property(fc.oneof(message, damaged), (input) => {
      const value = tried('REPLICATION_INVALID_MESSAGE', () => parseMessage(input))
      // What was let through once is let through again, unchanged.
      if (value) expect(parseMessage(value)).toEqual(value)
    }),
    { numRuns: runs.numRuns * 3 },
  )
})

/** Parsed as a link would; what is no message never reaches a session. */
const conversation = fc.array(message, { maxLength: 12 }).map((inputs) =>
  inputs.flatMap((input): Message[] => {
    try {
      return [parseMessage(input)]
    } catch {
      return []
    }
  }),
)

test('a secondary, whatever the primary says: no exception, and nothing is stored after the link was ended', () => {
  const welcome = (mode: 'stream' | 'diff', protocol: number): Message => {
    const head = { epoch: 1, index: 5, digest: new Uint8Array(32) }
    return { type: 'welcome', protocol, clusterId: 'set', head, view: 'v', mode, reason: '' }
  }
  const begin: Message = {
    type: 'diff-begin',
    round: 1,
    from: { epoch: 1, index: 5, digest: new Uint8Array(32) },
    view: 'v',
    reason: '',
  }
  const start = fc.constantFrom<Message[][]>(
    [],
    [welcome('stream', 2)],
    [welcome('stream', 1)],
    [welcome('diff', 2), begin],
  )
  fc.assert(
    fc.property(start, conversation, (opening, messages) => {
      const forest = merkleForest()
      const stored = {
        ...NO_POSITION,
        clusterId: 'set',
        epoch: 1,
        cursor: { epoch: 1, index: 5, digest: new Uint8Array(32) },
      }
      for (let n = 0; n < 10; n++) forest.set('replicated/m', new Uint8Array(16).fill(n), new Uint8Array(32).fill(n))
      const session = secondarySession(
        { secondaryId: 'two', kind: 'performance', forest, accept: () => true, report },
        stored,
        { sketches: { minEntries: 1, maxEntries: 100 } },
      )
      let closed = false
      const step = (event: Parameters<typeof session.step>[0]) => {
        for (const effect of session.step(event, 0)) {
          expect(closed).toBe(false)
          if (effect.type === 'close') closed = true
          if (effect.type === 'apply') step({ type: 'applied', id: effect.id })
        }
      }
      step({ type: 'start' })
      for (const next of [...opening, ...messages]) step({ type: 'message', message: next })
      // Without an opening the conversation may have one, or none.
      if (closed || opening.length > 0) expect(session.status(0).state === 'idle').toBe(closed)
    }),
    runs,
  )
})

test('a primary, whatever the secondary says', () => {
  const hello: Message = {
    type: 'hello',
    protocol: { min: 1, max: 2 },
    kind: 'performance',
    secondaryId: 'two',
    clusterId: '',
    cursor: null,
    epoch: 0,
    view: '',
  }
  fc.assert(
    fc.property(fc.boolean(), conversation, (greeted, messages) => {
      const forest = merkleForest()
      for (let n = 0; n < 100; n++) forest.set('replicated/m', new Uint8Array(16).fill(n), new Uint8Array(32).fill(n))
      const head = { epoch: 1, index: 5, digest: new Uint8Array(32) }
      const session = primarySession({
        secondaryId: 'two',
        kind: 'performance',
        clusterId: 'set',
        forest,
        view: { id: 'v', ships: () => true, mountPathOf: () => 'm/' },
        log: { head: () => head, oldest: () => 6 },
        report,
      })
      let closed = false
      for (const next of [...(greeted ? [hello] : []), ...messages]) {
        for (const effect of session.step({ type: 'message', message: next }, 0)) {
          expect(closed).toBe(false)
          if (effect.type === 'close') closed = true
        }
      }
      expect(session.status(0).state === 'closed').toBe(closed)
    }),
    runs,
  )
})
