import { inspect } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ReplicationError } from './errors.ts'
import { MESSAGE_LIMITS, parseMessage } from './message-parser.ts'
import type { Message, MessageType } from './messages.ts'

const cursor = { epoch: 1, index: 7, digest: new Uint8Array(32).fill(3) }
const group = {
  partition: 'replicated/m',
  mountPath: 'secret/',
  keys: ['a', 'b'],
  values: [Uint8Array.of(1), null],
}

/** One of each, so that a new type cannot be forgotten. */
const samples: { [T in MessageType]: Extract<Message, { type: T }> } = {
  hello: {
    type: 'hello',
    protocol: { min: 1, max: 3 },
    kind: 'dr',
    secondaryId: 's',
    clusterId: '',
    cursor: null,
    epoch: 0,
    view: '',
  },
  welcome: { type: 'welcome', protocol: 1, clusterId: 'c', head: cursor, view: 'v', mode: 'diff', reason: 'new' },
  refuse: { type: 'refuse', code: 'fenced', message: 'm' },
  wal: {
    type: 'wal',
    round: 0,
    cursor,
    head: 9,
    groups: [group],
    guard: new Uint8Array(32),
    after: cursor,
    digest: new Uint8Array(32),
  },
  ack: { type: 'ack', round: 0, cursor },
  'diff-request': { type: 'diff-request', round: 1, reason: 'r' },
  'diff-begin': { type: 'diff-begin', round: 2, from: cursor, view: 'v', reason: 'r' },
  'get-roots': { type: 'get-roots', round: 1, after: '' },
  roots: {
    type: 'roots',
    round: 1,
    items: [{ partition: 'local/core', count: 3, root: new Uint8Array(32) }],
    more: false,
  },
  'get-nodes': { type: 'get-nodes', round: 1, id: 1, partition: 'local/core', paths: ['', 'a0f'] },
  nodes: {
    type: 'nodes',
    round: 1,
    id: 1,
    nodes: [
      { kind: 'inner', count: 65, bytes: new Uint8Array(512) },
      { kind: 'bucket', count: 2, bytes: new Uint8Array(96) },
      { kind: 'empty', count: 0, bytes: new Uint8Array(0) },
    ],
  },
  'get-sketch': {
    type: 'get-sketch',
    round: 1,
    id: 4,
    partition: 'local/core',
    paths: ['a0', 'b'],
    first: 8,
    state: new Uint8Array(32),
    symbols: 8,
  },
  sketch: {
    type: 'sketch',
    round: 1,
    id: 4,
    count: 5000,
    state: new Uint8Array(32),
    first: 0,
    symbols: new Uint8Array(58),
  },
  'get-keys': { type: 'get-keys', round: 1, id: 2, partition: 'local/core', keyIds: new Uint8Array(32) },
  'get-subtree': { type: 'get-subtree', round: 1, id: 3, partition: 'local/core', path: '0', after: null },
  entries: { type: 'entries', round: 1, id: 3, group, next: new Uint8Array(16) },
  synced: { type: 'synced', round: 1 },
  ping: { type: 'ping', time: 1.5, cursor, canary: 0, addresses: ['a:1'], apiAddress: '' },
  pong: { type: 'pong', echo: 1, time: 2 },
  request: { type: 'request', id: 1, method: 'forward', body: { a: [1, 'x', null, true, Uint8Array.of(1)] } },
  response: { type: 'response', id: 1, body: null, error: { code: 'c', message: 'm' } },
}

function refusal(input: unknown): unknown {
  try {
    parseMessage(input)
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(ReplicationError)
    expect(error).toMatchObject({ code: 'REPLICATION_INVALID_MESSAGE' })
    return error
  }
}

test.each(Object.values(samples))('$type comes through as it is, and without what is not known', (message) => {
  expect(parseMessage(message)).toEqual(message)
  expect(parseMessage({ ...message, unknown: 1 })).toEqual(message)
})

test.each(Object.values(samples))('$type is refused when any field is missing or of another type', (message) => {
  for (const field of Object.keys(message)) {
    if (message.type === 'refuse' && field === 'code') continue // newer codes are read as the general one
    const { [field as keyof typeof message]: _, ...rest } = message as unknown as Record<string, unknown>
    const optional = field === 'body' || (message.type === 'wal' && (field === 'after' || field === 'digest'))
    if (!optional) expect(refusal(rest), `without ${field}`).toBeDefined()
    for (const wrong of [undefined, Number.NaN, -1, () => 1, new Date(), Symbol('x'), new Map()]) {
      if (field === 'body' && wrong === -1) continue // a body may be any number
      if (optional && field !== 'body' && wrong === undefined) continue // version 1 has no such field
      expect(refusal({ ...message, [field]: wrong }), `${field} = ${String(wrong)}`).toBeDefined()
    }
  }
})

test('anything at all is refused or a message', () => {
  const types = fc.constantFrom(...Object.keys(samples))
  const fields = fc.constantFrom(...new Set(Object.values(samples).flatMap((each) => Object.keys(each))))
  const anything = fc.anything({ withTypedArray: true, withBigInt: true, withNullPrototype: true, maxDepth: 3 })
  fc.assert(
    fc.property(fc.dictionary(fields, anything), types, anything, (change, type, other) => {
      refusal(other)
      refusal({ ...change, type })
      refusal({ ...samples[type as MessageType], ...change, type })
    }),
    { numRuns: process.env.SLOW ? 20_000 : 500 },
  )
})

test('limits hold', () => {
  const { wal, nodes, request } = samples
  const tooLarge = [
    { ...samples['get-nodes'], paths: Array(MESSAGE_LIMITS.nodesPerMessage + 1).fill('') },
    { ...samples['get-keys'], keyIds: new Uint8Array(16 * (MESSAGE_LIMITS.keyIdsPerMessage + 1)) },
    { ...samples['get-keys'], keyIds: new Uint8Array(17) },
    { ...samples['get-subtree'], path: '0'.repeat(33) },
    { ...samples['get-subtree'], path: 'A' },
    { ...wal, groups: [{ ...group, keys: ['a'] }] },
    { ...wal, groups: [{ ...group, keys: ['a', ''] }] },
    { ...wal, groups: [{ ...group, partition: 'ignored/m' }] },
    { ...wal, groups: [{ ...group, partition: 'replicated/m/x' }] },
    { ...wal, groups: [{ ...group, mountPath: 'x'.repeat(5000) }] },
    { ...wal, guard: new Uint8Array(31) },
    { ...wal, digest: new Uint8Array(31) },
    { ...wal, after: { ...cursor, digest: new Uint8Array(33) } },
    { ...samples['get-sketch'], symbols: 0 },
    { ...samples['get-sketch'], symbols: MESSAGE_LIMITS.sketchSymbols - 7 },
    { ...samples['get-sketch'], paths: Array(MESSAGE_LIMITS.sketchPaths + 1).fill('') },
    { ...samples['get-sketch'], state: new Uint8Array(16) },
    { ...samples.sketch, symbols: new Uint8Array(28) },
    { ...samples.sketch, symbols: new Uint8Array(29 * (MESSAGE_LIMITS.sketchSymbols + 1)) },
    { ...wal, cursor: { ...cursor, index: 2 ** 53 } },
    { ...nodes, nodes: [{ kind: 'inner', count: 1, bytes: new Uint8Array(511) }] },
    { ...nodes, nodes: [{ kind: 'bucket', count: 1, bytes: new Uint8Array(0) }] },
    { ...request, body: nested(MESSAGE_LIMITS.plainDepth + 2) },
    { ...request, body: Array(MESSAGE_LIMITS.plainValues + 1).fill(null) },
    { ...request, body: { f: () => 1 } },
    { ...request, body: [1n] },
    { type: '__proto__' },
    { type: 'toString' },
  ]
  for (const input of tooLarge) expect(refusal(input), inspect(input, { depth: 3 }).slice(0, 200)).toBeDefined()
})

test('a batch of version 1 is one without proof', () => {
  const { after: _, digest: __, ...first } = samples.wal
  expect(parseMessage(first)).toEqual({ ...samples.wal, after: null, digest: null })
})

test('a refusal with a code from the future is still one', () => {
  const message = parseMessage({ type: 'refuse', code: 'moon-phase', message: 'm' })
  expect(message).toEqual({ type: 'refuse', code: 'protocol', message: 'm' })
})

function nested(depth: number): unknown {
  return depth === 0 ? null : [nested(depth - 1)]
}
