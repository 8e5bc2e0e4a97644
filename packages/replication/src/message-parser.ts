/**
 * `parseMessage` turns whatever a peer sent into a `Message` or throws. It checks every field's type and length and drops
 * fields it does not know, so that a newer peer may add some.
 */
import { ReplicationError } from './errors.ts'
import { ENTRY_BYTES, isTreePath, KEY_ID_BYTES } from './merkle/leaf.ts'
import { NODE_HASH_BYTES } from './merkle/trie.ts'
import type {
  EntryGroup,
  Message,
  MessageType,
  NodeItem,
  Plain,
  RefusalCode,
  RootItem,
  WireCursor,
} from './messages.ts'
import { MAX_SYMBOLS, SYMBOL_BYTES } from './sketch/sketch.ts'
import { type PartitionId, parsePartitionId } from './types.ts'
import { DIGEST_BYTES } from './wal/cursor.ts'
import { RECORD_LIMITS } from './wal/record-codec.ts'

export const MESSAGE_LIMITS = {
  /** Encoded size of one message; transports refuse larger frames before reading them. One record always fits. */
  frameBytes: 40 * 1024 * 1024,
  groups: 100_000,
  entriesPerGroup: RECORD_LIMITS.operations,
  partitionsPerMessage: 1024,
  nodesPerMessage: 64,
  keyIdsPerMessage: 4096,
  sketchPaths: 64,
  sketchSymbols: MAX_SYMBOLS,
  textBytes: 4096,
  addresses: 64,
  plainDepth: 32,
  plainValues: 200_000,
} as const

type Fields = { readonly [name: string]: unknown }
const REFUSALS: readonly RefusalCode[] = [
  'version',
  'fenced',
  'cluster',
  'kind',
  'unknown',
  'not-accepted',
  'protocol',
  'shutdown',
]

/** Throws `REPLICATION_INVALID_MESSAGE`. */
export function parseMessage(input: unknown): Message {
  const fields = object(input, 'message')
  const type = fields.type
  if (typeof type !== 'string' || !Object.hasOwn(PARSERS, type)) throw invalid('unknown message type')
  return PARSERS[type as MessageType](fields)
}

const PARSERS: { readonly [T in MessageType]: (f: Fields) => Extract<Message, { type: T }> } = {
  hello: (f) => {
    const protocol = object(f.protocol, 'protocol')
    return {
      type: 'hello',
      protocol: { min: integer(protocol.min, 'protocol.min'), max: integer(protocol.max, 'protocol.max') },
      kind: oneOf(f.kind, ['performance', 'dr'], 'kind'),
      secondaryId: text(f.secondaryId, 'secondaryId'),
      clusterId: text(f.clusterId, 'clusterId'),
      cursor: f.cursor === null ? null : cursor(f.cursor),
      epoch: integer(f.epoch, 'epoch'),
      view: text(f.view, 'view'),
    }
  },
  welcome: (f) => ({
    type: 'welcome',
    protocol: integer(f.protocol, 'protocol'),
    clusterId: text(f.clusterId, 'clusterId'),
    head: cursor(f.head),
    view: text(f.view, 'view'),
    mode: oneOf(f.mode, ['stream', 'diff'], 'mode'),
    reason: text(f.reason, 'reason'),
    ...(f.leader === undefined ? {} : { leader: text(f.leader, 'leader') }),
  }),
  refuse: (f) => ({
    type: 'refuse',
    // A code that a newer peer invented still ends the conversation.
    code: REFUSALS.find((code) => code === f.code) ?? 'protocol',
    message: text(f.message, 'message'),
  }),
  wal: (f) => ({
    type: 'wal',
    round: integer(f.round, 'round'),
    cursor: cursor(f.cursor),
    head: integer(f.head, 'head'),
    groups: list(f.groups, MESSAGE_LIMITS.groups, 'groups').map(group),
    guard: f.guard === null ? null : bytes(f.guard, NODE_HASH_BYTES, NODE_HASH_BYTES, 'guard'),
    // Version 1 has neither of them.
    after: f.after === undefined || f.after === null ? null : cursor(f.after),
    digest: f.digest === undefined || f.digest === null ? null : bytes(f.digest, DIGEST_BYTES, DIGEST_BYTES, 'digest'),
  }),
  ack: (f) => ({ type: 'ack', round: integer(f.round, 'round'), cursor: cursor(f.cursor) }),
  'diff-request': (f) => ({
    type: 'diff-request',
    round: integer(f.round, 'round'),
    reason: text(f.reason, 'reason'),
  }),
  'diff-begin': (f) => ({
    type: 'diff-begin',
    round: integer(f.round, 'round'),
    from: cursor(f.from),
    view: text(f.view, 'view'),
    reason: text(f.reason, 'reason'),
  }),
  'get-roots': (f) => ({
    type: 'get-roots',
    round: integer(f.round, 'round'),
    after: f.after === '' ? '' : partition(f.after),
  }),
  roots: (f) => ({
    type: 'roots',
    round: integer(f.round, 'round'),
    items: list(f.items, MESSAGE_LIMITS.partitionsPerMessage, 'items').map(rootItem),
    more: boolean(f.more, 'more'),
  }),
  'get-nodes': (f) => ({
    type: 'get-nodes',
    round: integer(f.round, 'round'),
    id: integer(f.id, 'id'),
    partition: partition(f.partition),
    paths: list(f.paths, MESSAGE_LIMITS.nodesPerMessage, 'paths').map(treePath),
  }),
  nodes: (f) => ({
    type: 'nodes',
    round: integer(f.round, 'round'),
    id: integer(f.id, 'id'),
    nodes: list(f.nodes, MESSAGE_LIMITS.nodesPerMessage, 'nodes').map(nodeItem),
  }),
  'get-sketch': (f) => {
    const first = integer(f.first, 'first')
    const symbols = integer(f.symbols, 'symbols')
    if (symbols === 0 || first + symbols > MESSAGE_LIMITS.sketchSymbols) throw invalid('number of symbols')
    return {
      type: 'get-sketch',
      round: integer(f.round, 'round'),
      id: integer(f.id, 'id'),
      partition: partition(f.partition),
      paths: list(f.paths, MESSAGE_LIMITS.sketchPaths, 'paths').map(treePath),
      first,
      state: f.state === null ? null : bytes(f.state, NODE_HASH_BYTES, NODE_HASH_BYTES, 'state'),
      symbols,
    }
  },
  sketch: (f) => ({
    type: 'sketch',
    round: integer(f.round, 'round'),
    id: integer(f.id, 'id'),
    count: integer(f.count, 'count'),
    state: bytes(f.state, NODE_HASH_BYTES, NODE_HASH_BYTES, 'state'),
    first: integer(f.first, 'first'),
    symbols: packed(f.symbols, SYMBOL_BYTES, MESSAGE_LIMITS.sketchSymbols, 'symbols'),
  }),
  'get-keys': (f) => ({
    type: 'get-keys',
    round: integer(f.round, 'round'),
    id: integer(f.id, 'id'),
    partition: partition(f.partition),
    keyIds: packed(f.keyIds, KEY_ID_BYTES, MESSAGE_LIMITS.keyIdsPerMessage, 'keyIds'),
  }),
  'get-subtree': (f) => ({
    type: 'get-subtree',
    round: integer(f.round, 'round'),
    id: integer(f.id, 'id'),
    partition: partition(f.partition),
    path: treePath(f.path),
    after: keyIdOrNull(f.after, 'after'),
  }),
  entries: (f) => ({
    type: 'entries',
    round: integer(f.round, 'round'),
    id: integer(f.id, 'id'),
    group: group(f.group),
    next: keyIdOrNull(f.next, 'next'),
  }),
  synced: (f) => ({ type: 'synced', round: integer(f.round, 'round') }),
  ping: (f) => ({
    type: 'ping',
    time: time(f.time, 'time'),
    cursor: f.cursor === null ? null : cursor(f.cursor),
    canary: time(f.canary, 'canary'),
    addresses: list(f.addresses, MESSAGE_LIMITS.addresses, 'addresses').map((address) => text(address, 'address')),
    apiAddress: text(f.apiAddress, 'apiAddress'),
  }),
  pong: (f) => ({ type: 'pong', echo: time(f.echo, 'echo'), time: time(f.time, 'time') }),
  request: (f) => ({
    type: 'request',
    id: integer(f.id, 'id'),
    method: text(f.method, 'method'),
    body: plain(f.body),
  }),
  response: (f) => {
    const error = f.error === null ? null : object(f.error, 'error')
    return {
      type: 'response',
      id: integer(f.id, 'id'),
      body: plain(f.body),
      error: error && { code: text(error.code, 'error.code'), message: text(error.message, 'error.message') },
    }
  },
}

function cursor(value: unknown): WireCursor {
  const fields = object(value, 'cursor')
  return {
    epoch: integer(fields.epoch, 'epoch'),
    index: integer(fields.index, 'index'),
    digest: bytes(fields.digest, DIGEST_BYTES, DIGEST_BYTES, 'digest'),
  }
}

function group(value: unknown): EntryGroup {
  const fields = object(value, 'group')
  const keys = list(fields.keys, MESSAGE_LIMITS.entriesPerGroup, 'keys')
  const values = list(fields.values, MESSAGE_LIMITS.entriesPerGroup, 'values')
  if (keys.length !== values.length) throw invalid('keys and values differ in number')
  for (const key of keys) {
    if (typeof key !== 'string' || key === '' || key.length > RECORD_LIMITS.keyBytes) throw invalid('key')
  }
  for (const item of values) {
    if (item !== null && !(item instanceof Uint8Array && item.length <= RECORD_LIMITS.valueBytes))
      throw invalid('value')
  }
  return {
    partition: partition(fields.partition),
    mountPath: text(fields.mountPath, 'mountPath'),
    keys: keys as string[],
    values: values as (Uint8Array | null)[],
  }
}

function rootItem(value: unknown): RootItem {
  const fields = object(value, 'root')
  return {
    partition: partition(fields.partition),
    count: integer(fields.count, 'count'),
    root: bytes(fields.root, NODE_HASH_BYTES, NODE_HASH_BYTES, 'root'),
  }
}

function nodeItem(value: unknown): NodeItem {
  const fields = object(value, 'node')
  const kind = oneOf(fields.kind, ['inner', 'bucket', 'empty'], 'kind')
  const content = bytes(fields.bytes, 0, 16_384, 'node bytes')
  const fits =
    kind === 'inner'
      ? content.length === 16 * NODE_HASH_BYTES
      : kind === 'bucket'
        ? content.length > 0 && content.length % ENTRY_BYTES === 0
        : content.length === 0
  if (!fits) throw invalid('node bytes')
  return { kind, count: integer(fields.count, 'count'), bytes: content }
}

function partition(value: unknown): PartitionId {
  const id = text(value, 'partition')
  if (id.length > RECORD_LIMITS.mountBytes + 16 || parsePartitionId(id) === undefined) throw invalid('partition')
  return id
}

function treePath(value: unknown): string {
  if (!isTreePath(value)) throw invalid('path')
  return value
}

function keyIdOrNull(value: unknown, what: string): Uint8Array | null {
  return value === null ? null : bytes(value, KEY_ID_BYTES, KEY_ID_BYTES, what)
}

function packed(value: unknown, size: number, most: number, what: string): Uint8Array {
  const joined = bytes(value, 0, size * most, what)
  if (joined.length % size !== 0) throw invalid(what)
  return joined
}

/** Checks the value in place: what a decoder has built already costs no second copy. */
function plain(value: unknown): Plain {
  let left: number = MESSAGE_LIMITS.plainValues
  const visit = (item: unknown, depth: number): void => {
    if (--left < 0 || depth > MESSAGE_LIMITS.plainDepth) throw invalid('body is too large')
    if (item === null || typeof item === 'string' || typeof item === 'boolean' || item instanceof Uint8Array) return
    if (typeof item === 'number' && Number.isFinite(item)) return
    if (Array.isArray(item)) {
      for (const part of item) visit(part, depth + 1)
    } else {
      for (const part of Object.values(object(item, 'body'))) visit(part, depth + 1)
    }
  }
  visit(value, 0)
  return value as Plain
}

function object(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(what)
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw invalid(what)
  return value as Fields
}

function list(value: unknown, most: number, what: string): unknown[] {
  if (!Array.isArray(value) || value.length > most) throw invalid(what)
  return value
}

function bytes(value: unknown, least: number, most: number, what: string): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length < least || value.length > most) throw invalid(what)
  return value
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string' || value.length > MESSAGE_LIMITS.textBytes) throw invalid(what)
  return value
}

function integer(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw invalid(what)
  return value
}

/** Clocks may be fractional. */
function time(value: unknown, what: string): number {
  if (typeof value !== 'number' || !(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) throw invalid(what)
  return value
}

function boolean(value: unknown, what: string): boolean {
  if (typeof value !== 'boolean') throw invalid(what)
  return value
}

function oneOf<const T extends string>(value: unknown, choices: readonly T[], what: string): T {
  const found = choices.find((choice) => choice === value)
  if (found === undefined) throw invalid(what)
  return found
}

function invalid(what: string): ReplicationError {
  return new ReplicationError('REPLICATION_INVALID_MESSAGE', `not a valid ${what}`)
}
